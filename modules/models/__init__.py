"""Checkpoints: identify, load and place them, and change them for a while without a trace."""

from modules.models.files import Weights, read_pickled, read_weights
from modules.models.latents import NotANumber, decode, encode
from modules.models.load import load
from modules.models.model import Model
from modules.models.patch import ContextPatch, Live, Pass, Patch, PatchError, WeightPatch, patched
from modules.models.preview import preview

__all__ = [
    "ContextPatch",
    "Live",
    "Model",
    "NotANumber",
    "Pass",
    "Patch",
    "PatchError",
    "WeightPatch",
    "Weights",
    "decode",
    "encode",
    "load",
    "patched",
    "preview",
    "read_pickled",
    "read_weights",
]
