"""What tensor shapes cannot tell about a checkpoint: head and group counts, the prediction type, its noise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from modules.catalogue import Architecture, Prediction, named_prediction
from modules.models.model import Family
from modules.params import BadFile

Value = TypeVar("Value")

LONGEST_SHOWN = 100
"""Letters, or bits, of a value that makes no sense, in the sentence that says so."""


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says of itself, or what its family has where it says nothing."""

    family: Family = "sd1"
    unet_heads: int | None = None
    """None: 8 in SD 1, and one for every 64 channels in the others."""
    unet_head_width: int | None = None
    """Channels of one head, where that rather than the number of heads is the same on all levels."""
    unet_groups: int = 32
    vae_groups: int = 32
    clip_heads: int | None = None
    """None: one head for every 64 channels."""
    prediction_type: Prediction | None = "epsilon"
    """None where only the UNet itself can tell, as in SD 2."""
    scale_factor: float = 0.18215
    linear_start: float = 0.00085
    linear_end: float = 0.012
    is_ztsnr: bool = False


SCALE_FACTORS: Mapping[Family, float] = MappingProxyType(
    {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025, "sdxl_refiner": 0.13025}
)


def family_facts(family: Family) -> Facts:
    """What the original models of a family have."""
    return Facts(family=family, scale_factor=SCALE_FACTORS[family])


def read_facts(path: Path, metadata: Mapping[str, str], found: Architecture) -> Facts:
    """The facts of a checkpoint: an A1111 `.yaml` beside it first, then its metadata, then its tensors and its family.

    Raises BadFile for a value that cannot be meant.
    """
    shown = replace(family_facts(found.family), prediction_type=found.prediction, is_ztsnr=found.is_ztsnr)
    return replace(shown, **(_from_metadata(path, metadata) | _from_yaml(path.with_suffix(".yaml"))))


def _from_metadata(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    readers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "unet_heads": ("tagbrush.unet.heads", count),
        "unet_groups": ("tagbrush.unet.groups", count),
        "vae_groups": ("tagbrush.vae.groups", count),
        "clip_heads": ("tagbrush.clip.heads", count),
    }
    return {fact: checked(path, key, metadata[key], read) for fact, (key, read) in readers.items() if metadata.get(key)}


def _from_yaml(path: Path) -> dict[str, Any]:
    """Of the training configuration that A1111 reads: the keys that matter for running the model."""
    if not path.is_file():
        return {}
    try:
        params = _at(yaml.safe_load(path.read_text(encoding="utf-8-sig")), "model", "params")
    except OSError as error:
        raise BadFile(path, f"cannot be read ({error.strerror or error}). Check its rights, or delete it.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a 30th of February
        raise BadFile(path, f"is not YAML ({str(error).partition(chr(10))[0]}). Mend or delete it.") from error
    # SDXL's configurations name other parts than those of SD 1 and SD 2
    unet = "network_config" if _at(params, "network_config") else "unet_config"
    readers: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
        "unet_heads": ((unet, "params", "num_heads"), count),
        "unet_head_width": ((unet, "params", "num_head_channels"), count),
        "prediction_type": (("parameterization",), prediction),
        "scale_factor": (("scale_factor",), positive),
        "linear_start": (("linear_start",), positive),
        "linear_end": (("linear_end",), positive),
    }
    found = {fact: (".".join(keys), _at(params, *keys), read) for fact, (keys, read) in readers.items()}
    facts = {fact: checked(path, key, got, read) for fact, (key, got, read) in found.items() if got not in (None, -1)}
    if "unet_head_width" in facts and "unet_heads" not in facts:
        facts["unet_heads"] = None
    scaling = _at(params, "denoiser_config", "params", "scaling_config", "target")
    if isinstance(scaling, str) and scaling.endswith(("VScaling", "EpsScaling")):
        facts["prediction_type"] = "v" if scaling.endswith("VScaling") else "epsilon"
    return facts | _from_clip_folder(path.parent, _at(params, "cond_stage_config", "params", "version"))


def _from_clip_folder(beside: Path, version: Any) -> dict[str, Any]:
    """The head count of a text encoder whose configuration lies in a folder beside the checkpoint."""
    if not isinstance(version, str) or not re.fullmatch(r"[\w-]+", version):
        return {}
    config = beside / version / "config.json"
    if not config.is_file():
        return {}
    heads = _at(read_json(config), "num_attention_heads")
    return {} if heads is None else {"clip_heads": checked(config, "num_attention_heads", heads, count)}


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises BadFile where there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(path, f"cannot be read in {path.parent} ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(path, f"is not JSON ({error}). Download it again.") from error


def _at(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def checked(path: Path, key: str, got: Any, read: Callable[[Any], Value]) -> Value:
    """`read(got)`. Raises BadFile naming the key where that makes no sense."""
    try:
        return read(got)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise BadFile(path, f"says {key} = {_shown(got)}, which no model can mean.") from error


def _shown(got: Any) -> str:
    """A value in a few letters; of any but a short one its type, since lists in YAML can unfold until memory ends."""
    is_short = isinstance(got, str | float) or (isinstance(got, int) and got.bit_length() < LONGEST_SHOWN)
    return repr(got)[:LONGEST_SHOWN] if is_short else f"<{type(got).__name__}>"


def count(got: Any) -> int:
    """A number of heads or groups."""
    number = int(got)
    if isinstance(got, bool) or not 1 <= number <= 4096:
        raise ValueError(number)
    return number


def positive(got: Any) -> float:
    """A number above 0."""
    number = float(got)
    if not 0 < number < 1000:
        raise ValueError(number)
    return number


def prediction(got: Any) -> Prediction:
    """The prediction type under any of its names."""
    found = named_prediction(got) if isinstance(got, str) else None
    if found is None:
        raise ValueError("no prediction type")
    return found
