"""From the files that a picture's text names to those that are here (I017, I018)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modules.params import TAG_KINDS, Infotext, Pasted, listed_name

from .catalogue import Catalogue
from .entries import Entry

AUTOMATIC = ("", "None", "Automatic")

_TAG = re.compile(rf"<({'|'.join(map(re.escape, TAG_KINDS))}):([^:<>]+)(?=[:>])")
_HASH = re.compile(r"[0-9a-fA-F]{4,64}")


def resolve(
    pasted: Pasted,
    info: Infotext,
    catalogue: Catalogue,
    *,
    current: Entry | None = None,
    keeps_checkpoint: bool = False,
) -> Pasted:
    """What a text sets, in the names of the files that are here; what is missing is told with its hash.

    A LoRA that is here under another name is found by its hash, and its tags are renamed. `current` is the checkpoint
    in use; with `keeps_checkpoint` it stays, and another one that the text names is told.
    """
    work = _Resolution(catalogue, info, [*pasted.notices])
    fields, settings = dict(pasted.fields), dict(pasted.settings)
    for name in ("prompt", "hr_prompt", "negative_prompt", "hr_negative_prompt"):
        if fields.get(name):
            fields[name] = work.renamed(fields[name])
    work.tell_words()
    for name, what in (("refiner_checkpoint", "The refiner"), ("hr_checkpoint_name", "The hires checkpoint")):
        if fields.get(name):
            fields[name] = work.checkpoint(fields[name], what)
    work.set_vae(settings)
    work.set_checkpoint(settings, current, keeps=keeps_checkpoint)
    return replace(pasted, fields=fields, settings=settings, notices=tuple(dict.fromkeys(work.notices)))


class _Resolution:
    """One text on its way; collects what there is to tell."""

    def __init__(self, catalogue: Catalogue, info: Infotext, notices: list[str]) -> None:
        self._catalogue, self._fields, self.notices = catalogue, info.fields, notices
        self._hashes = _hash_list(info.fields.get("Lora hashes", ""))

    def renamed(self, prompt: str) -> str:
        """The prompt with every LoRA's tag naming the file that is here."""
        return _TAG.sub(self._here, prompt)

    def _here(self, tag: re.Match[str]) -> str:
        """The beginning of a tag, up to its name."""
        kind, name = tag.groups()
        if TAG_KINDS[kind] == "lora":
            return f"<{kind}:{self._lora(name)}"
        if self._catalogue.find("hypernetwork", name) is None:
            self.notices.append(f'The hypernetwork "{name}" is not here; the picture will lack it.')
        return tag[0]

    def _lora(self, name: str) -> str:
        """The name under which the LoRA of a tag is here; its own where it is not."""
        digits = self._hashes.get(listed_name(name), "")
        named = self._catalogue.find("lora", name)
        if digits and (named is None or self._catalogue.has_hash(named, digits) is not True):
            found = self._catalogue.with_hash("lora", digits, wait=named is None)
            if found is not None:
                return found.insert
        if named is None:
            self.notices.append(f'The LoRA "{name}"{_with_hash(digits)} is not here; the picture will lack it.')
        elif digits and self._catalogue.has_hash(named, digits) is False:
            self.notices.append(f'The LoRA "{name}" that is here is not the same file: the text says {digits}.')
        return name

    def tell_words(self) -> None:
        """Name the embeddings that are missing."""
        for name, digits in _hash_list(self._fields.get("TI hashes", "")).items():
            if self._catalogue.find("embedding", name) is None:
                found = self._catalogue.with_hash("embedding", digits)
                there = f'It is here as "{found.name}": write that.' if found else "Its name is read as plain words."
                self.notices.append(f'The embedding "{name}"{_with_hash(digits)} is not here. {there}')

    def checkpoint(self, name: str, what: str) -> str:
        """The path of a checkpoint that is here, or "" and a notice."""
        found = self._catalogue.find_checkpoint(name)
        if found is None:
            self.notices.append(f'{what} "{name}" is not here; it is left out.')
        return found.relative if found else ""

    def set_vae(self, settings: dict[str, Any]) -> None:
        """Name the VAE by the file that is here, or leave the choice as it was."""
        name = settings.get("sd_vae", "")
        if name in AUTOMATIC:
            return
        digits = self._fields.get("VAE hash", "")
        found = self._catalogue.find("vae", name) or self._catalogue.with_hash("vae", digits)
        if found is not None:
            settings["sd_vae"] = found.path.name
            return
        del settings["sd_vae"]
        self.notices.append(f'The VAE "{name}"{_with_hash(digits)} is not here; the chosen one stays.')

    def set_checkpoint(self, settings: dict[str, Any], current: Entry | None, *, keeps: bool) -> None:
        """Name the checkpoint by the file that is here, or leave the chosen one."""
        if "sd_model_checkpoint" not in settings:
            return
        del settings["sd_model_checkpoint"]
        digits, name = self._fields.get("Model hash", ""), self._fields.get("Model", "")
        shown = f'"{name or digits}"' + (_with_hash(digits) if name else "")
        found = self._model(digits, name)
        if found is None:
            self.notices.append(f"The checkpoint this was made with, {shown}, is not here; the chosen one stays.")
        elif not keeps:
            settings["sd_model_checkpoint"] = found.relative
        elif current is None or found.path != current.path:
            self.notices.append(f"This was made with the checkpoint {found.title}. Choose it for the same picture.")

    def _model(self, digits: str, name: str) -> Entry | None:
        """The checkpoint of the hash, else the one of the name, which may be another edition of it."""
        by_hash = self._catalogue.find_checkpoint(digits) if _HASH.fullmatch(digits) else None
        if by_hash is not None or not name:
            return by_hash
        found = self._catalogue.find_checkpoint(name)
        if found and digits and self._catalogue.has_hash(found, digits) is False:
            self.notices.append(
                f"The checkpoint {found.name} that is here is not the same file: the text says {digits}."
            )
        return found


def _hash_list(text: str) -> Mapping[str, str]:
    """The hashes in "name: 0123456789ab, other: ..." by name."""
    pairs = (part.rpartition(":") for part in text.split(","))
    return {name.strip(): digits.strip() for name, _, digits in pairs if _HASH.fullmatch(digits.strip())}


def _with_hash(digits: str) -> str:
    return f" (hash {digits})" if digits else ""
