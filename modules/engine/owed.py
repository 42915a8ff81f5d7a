"""What a job that is taken up again still owes."""

from __future__ import annotations

from collections.abc import Collection

from modules.pipeline import Plan


def lacking_besides(plan: Plan, made: Collection[int]) -> set[int]:
    """Those of the pictures made that lack a mask or composite to be shown beside them."""
    inpaint = plan.start.inpaint if plan.start else None
    each = inpaint.shows_mask + inpaint.shows_composite if inpaint else 0
    pictures = {index for index in made if index < plan.images}
    return {
        index for index in pictures if any(plan.images + each * index + number not in made for number in range(each))
    }
