"""Checkpoints: identify, load and place them, and change them for a while without a trace."""

from modules.models.files import Weights, read_pickled, read_weights
from modules.models.latents import NotANumber, decode, encode, require_numbers
from modules.models.load import load, with_vae
from modules.models.memory import free_memory, is_out_of_memory
from modules.models.merges import bare
from modules.models.model import Model
from modules.models.patch import Live, patched
from modules.models.patches import ContextPatch, Pass, Patch, PatchError, Thin, WeightPatch
from modules.models.preview import preview
from modules.models.schedule import downcast, zero_terminal_snr
from modules.models.sparing import fetch_encoders, rest_encoders
from modules.models.tiling import tiled
from modules.models.token_merging import merging_tokens

__all__ = [
    "ContextPatch",
    "Live",
    "Model",
    "NotANumber",
    "Pass",
    "Patch",
    "PatchError",
    "Thin",
    "WeightPatch",
    "Weights",
    "bare",
    "decode",
    "downcast",
    "encode",
    "fetch_encoders",
    "free_memory",
    "is_out_of_memory",
    "load",
    "merging_tokens",
    "patched",
    "preview",
    "read_pickled",
    "read_weights",
    "require_numbers",
    "rest_encoders",
    "tiled",
    "with_vae",
    "zero_terminal_snr",
]
