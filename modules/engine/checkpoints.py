"""The checkpoints kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from modules.catalogue import Entry
from modules.models import Model, free_memory, load, with_vae

from .config import EngineConfig, Sparing

File = tuple[str, int, int]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Precision:
    """The number types of models, None for those that suit the device; what is looked at, and what is spared."""

    dtype: torch.dtype | None = None
    vae_dtype: torch.dtype | None = None
    checks_numbers: bool = True
    sparing: Sparing = "never"

    @classmethod
    def of(cls, config: EngineConfig) -> Precision:
        """What the command line asks for."""
        full = torch.float32
        return cls(
            dtype=full if config.full_precision else None,
            vae_dtype=full if config.full_precision_vae else None,
            checks_numbers=config.checks_numbers,
            sparing=config.sparing,
        )

    def spares(self, family: str) -> bool:
        """Whether a model of this family makes do with little memory of its device."""
        return self.sparing == "always" or (self.sparing == "sdxl" and family.startswith("sdxl"))


class Checkpoints:
    """The models used last, `limit` of them; a file that changed on disk is loaded again."""

    def __init__(
        self,
        device: torch.device,
        tell: Tell = lambda text: None,
        *,
        limit: int = 1,
        precision: Precision | None = None,
    ) -> None:
        """`tell` is called with what is being loaded, and with "" when that is over."""
        self._device, self._tell, self.limit = device, tell, limit
        self._precision = precision or Precision()
        self._kept: OrderedDict[tuple[File, File | None], Kept] = OrderedDict()

    def acquire(self, checkpoint: Entry, vae: Entry | None = None) -> Model:
        """The model of these files; None takes the checkpoint's own VAE. Raises BadFile.

        One that must make room goes before the new one is read, so that both never have to fit. Of a checkpoint that
        is there only the VAE is changed.
        """
        key = (_file(checkpoint), _sidecar(checkpoint))
        wanted = _file(vae) if vae else None
        kept = self._kept.get(key)
        if kept is None or kept.vae != wanted:
            with self._telling(checkpoint if kept is None else vae or checkpoint):
                model = with_vae(kept.model, _path(vae)) if kept else self._load(checkpoint, vae)
            kept = self._kept[key] = Kept(model, wanted)
        self._kept.move_to_end(key)
        self.keep(max(self.limit, 1))  # which may have been lowered since
        return kept.model

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        free_memory(self._device)

    def keep(self, most: int) -> None:
        """Keep at most so many, those used last."""
        while len(self._kept) > most:
            self._kept.popitem(last=False)
            free_memory(self._device)

    def _load(self, checkpoint: Entry, vae: Entry | None) -> Model:
        self.keep(max(self.limit, 1) - 1)
        wanted = self._precision
        return load(
            checkpoint.path,
            device=self._device,
            dtype=wanted.dtype,
            vae=_path(vae),
            vae_dtype=wanted.vae_dtype,
            checks_numbers=wanted.checks_numbers,
            spares_memory=wanted.spares(checkpoint.family),
        )

    @contextmanager
    def _telling(self, entry: Entry) -> Iterator[None]:
        self._tell(f"Loading {entry.name}")
        try:
            yield
        finally:
            self._tell("")


class Kept(NamedTuple):
    """A model in memory, and the VAE that it has in place of its own."""

    model: Model
    vae: File | None


def _file(entry: Entry) -> File:
    return (str(entry.path), entry.size, entry.mtime_ns)


def _sidecar(entry: Entry) -> File | None:
    """The configuration beside the file, which says how to load it."""
    path = entry.path.with_suffix(".yaml")
    try:
        status = path.stat()
    except OSError:
        return None
    return (str(path), status.st_size, status.st_mtime_ns)


def _path(entry: Entry | None) -> Path | None:
    return entry.path if entry else None
