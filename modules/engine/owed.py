"""What of a job is still to be made, and by this worker."""

from __future__ import annotations

from collections.abc import Collection

from modules.pipeline import Plan


def not_to_make(plan: Plan, made: Collection[int], only: Collection[int] | None = None) -> frozenset[int]:
    """The pictures of a whole plan in batches that are complete, or that have none of the pictures `only` (None: all).

    A batch that lacks a picture is made again as a whole: of some of them alone, the last bits would be others.
    """
    complete = frozenset(made) - _lacking_besides(plan, made)
    wanted = frozenset(range(plan.images) if only is None else only)
    return frozenset(
        number
        for batch in plan.batches
        for number in batch.indices
        if complete.issuperset(batch.indices) or wanted.isdisjoint(batch.indices)
    )


def _lacking_besides(plan: Plan, made: Collection[int]) -> frozenset[int]:
    """Those of the pictures made that lack a mask or composite to be shown beside them."""
    inpaint = plan.start.inpaint if plan.start else None
    each = inpaint.shows_mask + inpaint.shows_composite if inpaint else 0
    pictures = [index for index in made if index < plan.images]
    return frozenset(
        index for index in pictures if any(plan.images + each * index + number not in made for number in range(each))
    )
