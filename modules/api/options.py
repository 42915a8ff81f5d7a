"""A1111's options over HTTP: read whole, changed in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from modules.catalogue.texts import sendable

from . import compat
from .checks import check_checkpoint
from .errors import RESPONSES
from .services import Bound, Services

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"])


class Unchanged(BaseModel):
    """What a change of options did not change."""

    ignored: list[str] = Field(description="Options that there are not, or that have one value here.")


@router.get("/options", response_model=compat.Options, summary="Options")
def options(services: Bound) -> dict[str, Any]:
    """Every option, under A1111's names; the checkpoint by its title, the first one's where none is chosen."""
    return _shown(services)


@router.post("/options", responses=RESPONSES, summary="Change options")
def change_options(
    services: Bound, changes: Annotated[Mapping[str, Any], Body(examples=[{"sd_model_checkpoint": "tagbrush-mini"}])]
) -> Unchanged | None:
    """Changes and keeps the given options. A1111 passes over those it does not know; so does this, and names them."""
    known, ignored = compat.read_changes(changes, _shown(services))
    check_checkpoint(services.catalogue, known)
    if known:
        services.jobs.change_settings(known)
    return Unchanged(ignored=sendable(ignored)) if ignored else None


def _shown(services: Services) -> dict[str, Any]:
    chosen = services.chosen_checkpoint()
    return compat.options_shown(
        services.jobs.settings(), chosen.title if chosen else None, chosen.sha256 if chosen else None
    )
