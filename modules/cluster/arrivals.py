"""Pictures made on other machines, saved on this one as if they had been made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

from modules.catalogue import Folders
from modules.engine.saved import kept_folder, unsaved_folder
from modules.engine.space import SPACE_PAUSES, save_with_patience
from modules.images import Mark, SaveFailed, save_encoded
from modules.jobs.messages import Failed, Interrupt, Message, Notice, PictureSaved, Run
from modules.params import Settings, make_request


@dataclass(slots=True)
class Arrivals:
    """Saves the pictures of the jobs handed out, and answers for those that cannot be saved.

    `to_server` and `to_node` pass a message on.
    """

    folders: Folders
    to_server: Callable[[Message], None]
    to_node: Callable[[Message], None]
    pauses: Sequence[float] = SPACE_PAUSES
    _jobs: dict[str, Run] = field(default_factory=dict)
    _stopped: set[str] = field(default_factory=set)
    _given_up: set[str] = field(default_factory=set)

    def expect(self, job: Run) -> Run:
        """The job as the node is to have it: its pictures go to folders that mean nothing there."""
        self._jobs[job.job_id] = job
        self._stopped.discard(job.job_id)
        self._given_up.discard(job.job_id)
        defaults = Settings()
        places = {
            name: getattr(defaults, name)
            for name in ("outdir_txt2img_samples", "outdir_img2img_samples")
            if name in job.settings
        }
        return job.model_copy(update={"settings": {**job.settings, **places}})

    def stopped(self, job_id: str) -> None:
        """The job was asked to stop: a full disk is no longer waited for."""
        if job_id in self._jobs:
            self._stopped.add(job_id)

    def gave_up(self, job_id: str) -> bool:
        """Whether the job has failed here already, so that what the node still says of it is nothing new."""
        return job_id in self._given_up

    def over(self, job_id: str) -> None:
        """The job is over."""
        self._jobs.pop(job_id, None)
        self._stopped.discard(job_id)
        self._given_up.discard(job_id)

    def save(self, message: PictureSaved, data: bytes, suffix: str, *, is_kept: bool) -> None:
        """Save the picture and tell the server where; fail the job if that cannot be done."""
        job = self._jobs.get(message.job_id)
        if job is None or self.gave_up(message.job_id):
            return
        try:
            path = self._try_for_a_while(job, message, data, suffix, is_kept=is_kept)
        except SaveFailed as error:
            self._given_up.add(message.job_id)
            self.to_node(Interrupt(job_id=message.job_id))
            self.to_server(Failed(job_id=message.job_id, error=str(error), kind="disk"))
            return
        self.to_server(message.model_copy(update={"path": str(path)}))

    def _try_for_a_while(self, job: Run, message: PictureSaved, data: bytes, suffix: str, *, is_kept: bool) -> Path:
        return save_with_patience(
            partial(self._save, job, message, data, suffix, is_kept=is_kept),
            self.pauses,
            tell=lambda text: self.to_server(Notice(job_id=message.job_id, text=text)),
            is_stopped=lambda: message.job_id in self._stopped,
        )

    def _save(self, job: Run, message: PictureSaved, data: bytes, suffix: str, *, is_kept: bool) -> Path:
        mark = Mark(**message.model_dump(exclude={"path"}))
        kept = kept_folder(make_request(job.request), Settings().overridden(job.settings), self.folders)
        return save_encoded(
            data,
            suffix,
            kept if is_kept else unsaved_folder(job.job_id, self.folders),
            seed=message.seed,
            day=date.today() if is_kept else None,
            mark=mark,
        )
