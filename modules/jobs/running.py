"""A job in hand: which worker makes what of it, how it goes, and what it was asked to end as."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from .messages import Input, Run, StepDone
from .schema import ErrorKind, Job, JobState, Progress
from .shares import Numbering, Share, owed
from .worker import Exit


@dataclass(slots=True)
class Part:
    """What one worker has of a job; all of it if `is_whole`."""

    share: Share
    is_whole: bool
    said: StepDone | None = None

    @property
    def done(self) -> float:
        """From 0 to 1."""
        if self.said is None:
            return 0.0
        return min(1.0, (self.said.batch + self.said.step / max(1, self.said.steps)) / max(1, self.said.batches))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    state: JobState
    error: str | None = None
    kind: ErrorKind | None = None


@dataclass(slots=True)
class Running:
    """A job from its start to its end; `wanted` is the state that someone asked it to end in."""

    job: Job
    waiting: list[Share]
    """Shares that no worker has, in the order in which they shall be made."""
    numbering: Numbering
    made: set[int] = field(default_factory=set)
    """The numbers of what is recorded; see `note`."""
    inputs: tuple[Input, ...] = ()
    """The pictures that the request names."""
    parts: dict[int, Part] = field(default_factory=dict)
    """By the worker's number."""
    wanted: JobState | None = None
    asked: float = 0.0
    progress: Progress | None = None
    preview: bytes | None = None
    _failure: Outcome | None = None
    _was_cut: bool = False
    _pictures_made: int = 0
    _batches: int = 0
    _finished: int = 0
    """Of the batches that were owed at the start."""
    _skipped: int | None = None
    """The batch that someone asked to be left out."""
    _first: tuple[float, float] | None = None

    @classmethod
    def of(cls, job: Job) -> Running:
        """The job as it is started, with what it still owes."""
        share = owed(job)
        running = cls(job, [share], Numbering.of(job), _batches=len(share.batches))
        running.note(picture.index for picture in job.pictures)
        return running

    def note(self, numbers: Iterable[int]) -> None:
        """What has these numbers is recorded."""
        new = set(numbers) - self.made
        self.made |= new
        self._pictures_made += sum(number < self.numbering.pictures for number in new)

    @property
    def is_stopping(self) -> bool:
        """Whether no more of it is to be begun."""
        return self.wanted is not None or self._failure is not None

    def take(self, worker: int, workers: int) -> Part:
        """What this one of so many workers shall make next."""
        share, rest = self.waiting.pop(0).cut(workers if self.job.settings.spread_images else 1)
        if rest is not None:
            self.waiting.insert(0, rest)
        is_whole = not (self.waiting or self.parts or self._finished)
        part = self.parts[worker] = Part(share, is_whole)
        return part

    def message(self, part: Part) -> Run:
        """What hands the part out."""
        return Run(
            job_id=self.job.id,
            request=self.job.request.model_dump(mode="json"),
            settings=self.job.settings.model_dump(mode="json"),
            made=tuple(sorted(self.made)),
            only=None if part.is_whole else part.share.pictures,
        )

    def numbers(self, part: Part) -> frozenset[int] | None:
        """The numbers of all that the part is to bring; None where that is whatever the job brings."""
        return None if part.is_whole else self.numbering.with_besides(part.share.pictures)

    def has_all_of(self, part: Part) -> bool:
        """Whether all that the part is to bring is recorded."""
        return self.made >= self.numbering.with_besides(part.share.pictures)

    def finish(self, worker: int, *, was_cut: bool) -> None:
        """The worker is through with its part; `was_cut` if it left out some of it because it was asked to."""
        self._finished += len(self.parts.pop(worker).share.batches)
        self._was_cut |= was_cut

    def give_back(self, worker: int) -> None:
        """The worker died over its part, which is to be made again; or not, if the job is to end."""
        part = self.parts.pop(worker)
        if self.is_stopping:
            self._was_cut = True
        else:
            self.waiting.insert(0, part.share.again())

    def stop(self, state: JobState) -> None:
        """Someone asked the job to end in this state."""
        self.wanted, self.asked = state, time.monotonic()
        self._leave_waiting()

    def fail(self, failure: Outcome) -> None:
        """A part cannot be made, and so the job cannot."""
        self._failure = self._failure or failure
        self._leave_waiting()

    def _leave_waiting(self) -> None:
        self._was_cut |= bool(self.waiting)
        self.waiting.clear()

    @property
    def end(self) -> Outcome:
        """How the job ends when nobody works on it any more."""
        if self._failure is not None:
            return self._failure
        was_cut = self._was_cut or bool(self.parts)
        return Outcome((self.wanted or JobState.INTERRUPTED) if was_cut else JobState.DONE)

    # How it goes

    @property
    def leader(self) -> int | None:
        """The worker that samples the first of the pictures in hand: of the parts, that one's steps are shown."""
        sampling = [worker for worker, part in self.parts.items() if part.said is not None]
        return min(sampling or self.parts, key=lambda worker: self.parts[worker].share.pictures[:1], default=None)

    def hear(self, worker: int, said: StepDone) -> Progress:
        """How far the job is now; its end is foreseen from the pace since the first report."""
        part = self.parts[worker]
        part.said = said
        done = part.done if part.is_whole else self._done()
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        began, at = self._first
        eta = (now - began) / (done - at) * (1 - done) if done > at else None
        told = said if part.is_whole else self._joined(said, done)
        is_skipped = told.batch == self._skipped
        self.progress = Progress(**told.model_dump(), progress=done, eta=eta, is_skipped=is_skipped)
        return self.progress

    def skip(self) -> None:
        """Someone asked the batch whose steps are shown to be left out."""
        if self.progress is not None:
            self._skipped = self.progress.batch
            self.progress = self.progress.model_copy(update={"is_skipped": True})

    def show(self, worker: int, preview: bytes) -> bool:
        """Whether this is the preview to show."""
        if worker != self.leader:
            return False
        self.preview = preview
        return True

    def _done(self) -> float:
        """From 0 to 1, all parts together."""
        at_work = sum(part.done * len(part.share.batches) for part in self.parts.values())
        return min(1.0, (self._finished + at_work) / max(1, self._batches))

    def _joined(self, said: StepDone, done: float) -> StepDone:
        """The batches and pictures of the whole job, and the steps of the leading part."""
        leading = self.parts[self.leader].said if self.leader is not None else None
        return (leading or said).model_copy(
            update={
                "batch": min(int(done * self._batches), max(self._batches - 1, 0)),
                "batches": self._batches,
                "images_done": self._pictures_made,
            }
        )


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
