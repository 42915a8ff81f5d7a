"""The job in hand: what it was asked to end as, how it goes, and what to say if its worker dies."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .messages import Run, StepDone
from .schema import Job, JobState, Progress
from .worker import Exit


@dataclass(slots=True)
class Running:
    """A job that a worker has, from handing out to its end; `wanted` is the state that someone asked it to end in."""

    job: Job
    wanted: JobState | None = None
    asked: float = 0.0
    _first: tuple[float, float] | None = None

    def message(self) -> Run:
        """What hands the job out."""
        return Run(
            job_id=self.job.id,
            request=self.job.request.model_dump(mode="json"),
            settings=self.job.settings.model_dump(mode="json"),
            made=tuple(picture.index for picture in self.job.pictures),
        )

    def progress(self, said: StepDone) -> Progress:
        """How far the job is; its end is foreseen from the pace since the first report."""
        done = min(1.0, (said.batch + said.step / max(1, said.steps)) / max(1, said.batches))
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        began, at = self._first
        eta = (now - began) / (done - at) * (1 - done) if done > at else None
        return Progress(**said.model_dump(), progress=done, eta=eta)


def describe(exit: Exit) -> str:
    """How the worker ended, with the last thing it printed when it ended by an error of its own."""
    return f"{exit} after printing: {exit.printed[-1]}" if exit.printed and exit.code > 0 else str(exit)


def explain_failure(exit: Exit, attempts: int) -> str:
    """Why a job failed whose worker died, and what can be done."""
    if exit.looks_like_out_of_memory:
        advice = (
            "The system was probably out of memory: make the picture or the batch smaller, or close other programs."
        )
    else:
        advice = (
            "Other jobs go on. If it happens again, try a smaller picture or leave out networks; "
            "the log shows what the worker printed last."
        )
    return f"The worker process {describe(exit)} while it made this picture, at each of {attempts} attempts. {advice}"
