"""An entry: one checkpoint, VAE or network on disk, and what is known of it without loading it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from .families import SIZE_OF_PREDICTION, Family, Prediction, Variant
from .sidecars import PREDICTION

Kind = Literal["checkpoint", "vae", "lora", "hypernetwork", "embedding"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_PREDICTIONS: Mapping[str, Prediction] = {"epsilon": "epsilon", "v": "v"}
_DECLARED_FAMILIES: Mapping[str, Family] = {"SD1": "sd1", "SD2": "sd2", "SDXL": "sdxl"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file's own contents tell.

    `width` is the text encoder's width: of a checkpoint or LoRA its cross-attention's, of an embedding its vectors'
    (SDXL's are in two parts and count together, as its cross-attention reads them).
    `variant` and `prediction` are a checkpoint's (`prediction` None: the file does not show it), and `missing` the
    parts that are not in it. `inner_name` is that of an embedding in a picture, where it goes before the file's.
    `metadata` leaves out long values (`Catalogue.metadata` reads them all). `error` says why the file cannot be used;
    it is fleeting if it may pass while the file stays as it is: another program had it open, or rights were missing.
    `is_none` is a file that is none of the kind, and no fault: a picture among embeddings without one in it.
    """

    family: Family = ""
    native_size: tuple[int, int] | None = None
    cfg_scale: float | None = None
    vectors: int | None = None
    width: int | None = None
    variant: Variant = "base"
    prediction: Prediction | None = None
    is_ztsnr: bool = False
    missing: tuple[str, ...] = ()
    inner_name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    has_cover: bool = False
    error: str | None = None
    is_fleeting: bool = False
    is_none: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as the catalogue knows it; two entries are of the same contents if path, size and mtime are equal.

    `relative` is the path below `root` with "/" between its parts; `insert` is what a card puts into a tag: the stem,
    or as much more of the relative path as it takes to be unique. `examined` is False while only the file's name is
    known, which lasts for moments after many new files have appeared.
    """

    kind: Kind
    path: Path
    root: Path = Path()
    relative: str = ""
    name: str = ""
    insert: str = ""
    size: int = 0
    mtime_ns: int = 0
    created_ns: int = 0
    hidden: bool = False
    examined: bool = True
    facts: Facts = field(default_factory=Facts)
    preview: Path | None = None
    preview_mtime_ns: int = 0
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None

    @property
    def id(self) -> str:
        """A stable, url-safe name of the file."""
        return entry_id(self.kind, self.path)

    @property
    def bare_relative(self) -> str:
        """The relative path without the file's ending."""
        return self.relative.removesuffix(self.path.name) + self.name

    @property
    def category(self) -> str:
        """The sub-folder, "" at the top."""
        parent = str(PurePosixPath(self.relative).parent)
        return "" if parent == "." else parent

    @property
    def family(self) -> Family:
        """The base model, as the sidecar declares it or the contents show it."""
        return _DECLARED_FAMILIES.get(str(self.sidecar.get("sd version", "")), self.facts.family)

    @property
    def prediction(self) -> Prediction | None:
        """What a checkpoint predicts, as its configuration or the file itself says; None where nothing tells."""
        return _PREDICTIONS.get(str(self.sidecar.get(PREDICTION)), self.facts.prediction)

    @property
    def native_size(self) -> tuple[int, int] | None:
        """Width and height that a checkpoint was made for, if it says so, or shows it by what it predicts."""
        if self.facts.native_size is None and self.family == "sd2" and self.prediction is not None:
            return SIZE_OF_PREDICTION[self.prediction]
        return self.facts.native_size

    @property
    def cfg_scale(self) -> float | None:
        """The guidance scale that a checkpoint recommends."""
        return self.facts.cfg_scale

    @property
    def vectors(self) -> int | None:
        """How many token places an embedding takes."""
        return self.facts.vectors

    @property
    def width(self) -> int | None:
        """The text encoder's width, of checkpoints, LoRAs and embeddings."""
        return self.facts.width

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself, long values left out."""
        return self.facts.metadata

    @property
    def error(self) -> str | None:
        """Why the file cannot be used."""
        return self.facts.error

    @property
    def has_preview(self) -> bool:
        """Whether there is a picture, beside the file or inside it."""
        return self.preview is not None or self.facts.has_cover

    @property
    def alias(self) -> str:
        """The name that a LoRA's trainer gave it, else the stem."""
        alias = self.metadata.get("ss_output_name", "")
        return alias if alias not in ("", "None", "none") else self.name

    @property
    def title(self) -> str:
        """A checkpoint's path below its folder and, once hashed, the first ten digits of its hash (D011)."""
        return f"{self.relative} [{self.sha256[:10]}]" if self.sha256 else self.relative

    @property
    def model_name(self) -> str:
        """A checkpoint's path below its folder as one word, as A1111's API lists it (D011).

        Infotexts have the stem alone.
        """
        return self.bare_relative.replace("/", "_")

    @property
    def description(self) -> str:
        """The sidecar's description."""
        return self._text("description")

    @property
    def notes(self) -> str:
        """The sidecar's notes."""
        return self._text("notes")

    @property
    def activation_text(self) -> str:
        """Words to insert with the tag."""
        return self._text("activation text")

    @property
    def negative_text(self) -> str:
        """Words to insert into the other prompt box."""
        return self._text("negative text")

    @property
    def preferred_weight(self) -> float | None:
        """The weight to insert; None where the sidecar names none (0 means none there)."""
        value = self.sidecar.get("preferred weight")
        try:
            weight = float(value) if value is not None else 0.0
        except (TypeError, ValueError):
            return None
        return weight if weight and math.isfinite(weight) else None

    def _text(self, key: str) -> str:
        value = self.sidecar.get(key)
        return value if isinstance(value, str) else ""


def entry_id(kind: Kind, path: Path) -> str:
    """The id of a file of a kind: stable while it stays where it is, and safe in a URL."""
    return hashlib.blake2s(f"{kind}\0{path}".encode(errors="surrogatepass"), digest_size=12).hexdigest()
