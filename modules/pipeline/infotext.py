"""The text that goes into a picture, in A1111's keys (I010-I018)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path

from modules import __version__
from modules.catalogue import Entry
from modules.params import Infotext, format_infotext

from .plans import Batch, Plan

PROGRAM = f"Tagbrush {__version__}"
Hashes = Mapping[Path, Future[str]]


def describe_picture(plan: Plan, batch: Batch, position: int, used: Iterable[tuple[str, Entry]], hashes: Hashes) -> str:
    """The infotext of the picture at `position` of a batch.

    `used` are the networks and embeddings that are in it, by the name the prompt has for each. Waits for their hashes
    and the checkpoint's; one that cannot be computed is left out.
    """
    prompt, negative = batch.prompts[position].text, batch.negatives[position].text
    fields = {
        "Steps": plan.steps,
        "Sampler": plan.sampler,
        "Schedule type": plan.schedule,
        "CFG scale": plan.cfg_scale,
        "Seed": batch.seeds[position],
        "Size": f"{plan.width}x{plan.height}",
        "Model hash": _hash(plan.checkpoint, hashes),
        "Model": plan.checkpoint.model_name,
        "VAE hash": _hash(plan.vae, hashes),
        "VAE": plan.vae.path.name if plan.vae else None,
        "Denoising strength": plan.start.strength if plan.start else None,
        "Clip skip": plan.clip_skip if plan.clip_skip > 1 else None,
        "ENSD": plan.eta_noise_seed_delta or None,
        "RNG": plan.randn_source,
        "Lora hashes": _hash_list(used, "lora", hashes),
        "TI hashes": _hash_list(used, "embedding", hashes),
        "Emphasis": plan.emphasis if plan.emphasis != "Original" and _has_brackets(prompt, negative) else None,
        "Version": PROGRAM,
    }
    written = {key: str(value) for key, value in fields.items() if value is not None}
    return format_infotext(Infotext(prompt, negative, written))


def _hash_list(used: Iterable[tuple[str, Entry]], kind: str, hashes: Hashes) -> str | None:
    found = {name: _hash(entry, hashes) for name, entry in used if entry.kind == kind}
    return ", ".join(f"{_bare(name)}: {digits}" for name, digits in found.items() if digits) or None


def _hash(entry: Entry | None, hashes: Hashes) -> str | None:
    """The digits; None where the file could not be read meanwhile."""
    if entry is None:
        return None
    future = hashes[entry.path]
    return None if future.exception() else future.result()


def _bare(name: str) -> str:
    return name.replace(":", "").replace(",", "")


def _has_brackets(*prompts: str) -> bool:
    return any(bracket in prompt for prompt in prompts for bracket in "([")
