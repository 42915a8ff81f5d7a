"""A job divided among workers: which of its batches each of them makes.

A batch is never divided, so that its pictures are those that one worker alone would have made.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from modules.params import batches, shown_beside

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


def owed(job: Job) -> Share:
    """The batches of the job that lack a picture, or something that is to be shown beside one."""
    made = {picture.index for picture in job.pictures}
    lacking = tuple(batch for batch in batches(job.request) if not numbers(job, batch) <= made)
    return Share(lacking, max(job.attempts, 1))


def numbers(job: Job, pictures: Collection[int]) -> frozenset[int]:
    """The numbers of these pictures and of all that is shown beside them."""
    total = sum(map(len, batches(job.request)))
    each = shown_beside(job.request, job.settings)
    return frozenset(pictures) | {total + each * picture + beside for picture in pictures for beside in range(each)}
