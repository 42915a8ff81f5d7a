"""What the pipeline reports, as messages to the server and as files."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

from PIL import Image

from modules.catalogue import Folders
from modules.images import Mark, save_picture
from modules.jobs.messages import Message, Notice, PictureSaved, Preview, StepDone
from modules.params import Request, Settings
from modules.pipeline import FinishedPicture

from .pipes import Pipes
from .saved import kept_folder, unsaved_folder
from .space import SPACE_PAUSES, save_with_patience

_PREVIEW_PIXELS = 512
_SECONDS_BETWEEN_PREVIEWS = 0.1


@dataclass(slots=True)
class Report:
    """Tells the server how one job goes, and saves its pictures."""

    pipes: Pipes
    job_id: str
    request: Request
    settings: Settings
    folders: Folders
    made: Collection[int] = ()
    """Pictures that are saved already; one made again, for the sake of its mask, is not saved again."""
    completed: int = 0
    _last_preview: float = field(default=0.0)

    def progress(self, batch: int, batches: int, step: int, steps: int, images_done: int, images: int) -> None:
        self._send(
            StepDone(
                job_id=self.job_id,
                batch=batch,
                batches=batches,
                step=step,
                steps=steps,
                images_done=images_done,
                images=images,
            )
        )

    def preview(self, draw: Callable[[], Image.Image]) -> None:
        """Show the picture so far, unless the last one was shown only just now."""
        now = time.monotonic()
        if now - self._last_preview < _SECONDS_BETWEEN_PREVIEWS:
            return
        self._last_preview = now
        self._send(Preview(job_id=self.job_id, data=_jpeg(draw())))

    def picture(self, finished: FinishedPicture) -> None:
        """Save the picture and tell where it is. Raises SaveFailed."""
        if finished.index not in self.made:
            mark = self._mark(finished)
            path = self._save(finished, mark)
            self._send(PictureSaved(path=str(path), **mark.model_dump()))
        self.completed += finished.is_complete and finished.kind == "picture"

    def notice(self, text: str) -> None:
        self._send(Notice(job_id=self.job_id, text=text))

    def _save(self, finished: FinishedPicture, mark: Mark) -> Path:
        """The path of the picture once it is saved; a full disk is given some time to have room again."""
        control = self.pipes.control(self.job_id)
        return save_with_patience(
            partial(self._try_to_save, finished, mark),
            SPACE_PAUSES,
            tell=self.notice,
            is_stopped=lambda: control.interrupted,
        )

    def _try_to_save(self, finished: FinishedPicture, mark: Mark) -> Path:
        """The path of the saved picture.

        One that was stopped before its last step is shown, but kept among the others only if the settings say so;
        a mask or composite is only shown.
        """
        is_kept = (
            self.request.save_images
            and finished.kind == "picture"
            and (finished.is_complete or self.settings.save_incomplete_images)
        )
        kept = kept_folder(self.request, self.settings, self.folders)
        return save_picture(
            finished.image,
            kept if is_kept else unsaved_folder(self.job_id, self.folders),
            seed=finished.seed,
            infotext=finished.infotext,
            format=self.settings.samples_format,
            quality=self.settings.jpeg_quality,
            day=date.today() if is_kept else None,
            mark=mark,
        )

    def _mark(self, finished: FinishedPicture) -> Mark:
        return Mark(
            job_id=self.job_id,
            index=finished.index,
            seed=finished.seed,
            subseed=finished.subseed,
            infotext=finished.infotext,
            width=finished.image.width,
            height=finished.image.height,
            kind=finished.kind,
        )

    def _send(self, message: Message) -> None:
        self.pipes.send(message)


def _jpeg(image: Image.Image) -> bytes:
    small = image.convert("RGB")
    small.thumbnail((_PREVIEW_PIXELS, _PREVIEW_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()
