"""A job divided among workers: which of its batches each of them makes.

A batch is never divided, so that its pictures are those that one worker alone would have made.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from modules.params import batches, made_together, shown_beside

from .schema import Job


@dataclass(frozen=True, slots=True)
class Share:
    """Batches for one worker, by the numbers of their pictures, to be made for the `attempt`-th time."""

    batches: tuple[range, ...]
    attempt: int = 1

    @property
    def pictures(self) -> tuple[int, ...]:
        return tuple(number for batch in self.batches for number in batch)

    def again(self) -> Share:
        """The same after a failed attempt."""
        return replace(self, attempt=self.attempt + 1)

    def cut(self, workers: int) -> tuple[Share, Share | None]:
        """What to give to one of so many workers now, and what to keep for whoever is free next.

        Half of an equal part at a time: at the end, when shares are small, nobody waits long for the slowest.
        """
        count = len(self.batches) if workers == 1 else -(-len(self.batches) // (2 * workers))
        if count == len(self.batches):
            return self, None
        return replace(self, batches=self.batches[:count]), replace(self, batches=self.batches[count:])


@dataclass(frozen=True, slots=True)
class Numbering:
    """How what a job brings is numbered: so many pictures, and then what is shown beside each, so much of it."""

    pictures: int
    each: int

    @classmethod
    def of(cls, job: Job) -> Numbering:
        return cls(made_together(job.request) * job.request.n_iter, shown_beside(job.request, job.settings))

    def with_besides(self, pictures: Collection[int]) -> frozenset[int]:
        """The numbers of these pictures and of all that is shown beside them."""
        besides = (self.pictures + self.each * picture + beside for picture in pictures for beside in range(self.each))
        return frozenset(pictures).union(besides)


def owed(job: Job) -> Share:
    """The batches of the job that lack a picture, or something that is to be shown beside one."""
    made, numbering = {picture.index for picture in job.pictures}, Numbering.of(job)
    lacking = tuple(batch for batch in batches(job.request) if not made.issuperset(numbering.with_besides(batch)))
    return Share(lacking, max(job.attempts, 1))
