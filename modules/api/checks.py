"""Checks that need to know which files there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.catalogue import Catalogue, Entry
from modules.params import BadFile, Img2ImgRequest, Txt2ImgRequest, UnknownName, check_inputs

from .services import Services

CHOSEN_BY_ITSELF = ("", "Automatic", "None")


def check_job(services: Services, request: Txt2ImgRequest | Img2ImgRequest) -> None:
    """As `check_checkpoint`, for what a job names itself. Raises BadRequest too, for one without the pictures it needs.

    Where the options name a file that is gone, the job is made with another and says so (D017).
    """
    check_inputs(request)
    check_checkpoint(services.catalogue, request.override_settings)
    for name in (request.refiner_checkpoint, getattr(request, "hr_checkpoint_name", "")):
        check_checkpoint(services.catalogue, {"sd_model_checkpoint": name})


def check_checkpoint(catalogue: Catalogue, settings: Mapping[str, Any]) -> None:
    """Nothing, if the checkpoint and VAE that `settings` choose can be used.

    Raises UnknownName where there is none of that name, BadFile where the file is known to be no good.
    """
    checkpoint, vae = str(settings.get("sd_model_checkpoint") or ""), str(settings.get("sd_vae") or "")
    if checkpoint:
        _check("Checkpoint", checkpoint, catalogue.find_checkpoint(checkpoint), catalogue.entries("checkpoint"))
    if vae not in CHOSEN_BY_ITSELF:
        _check("VAE", vae, catalogue.find("vae", vae), catalogue.entries("vae"))


def _check(kind: str, name: str, found: Entry | None, known: tuple[Entry, ...]) -> None:
    if found is None:
        raise UnknownName(kind, name, (entry.title for entry in known))
    if found.error is not None:
        raise BadFile(found.path, found.error)
