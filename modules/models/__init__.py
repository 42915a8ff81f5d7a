"""Checkpoints: identify, load and place them, and change them for a while without a trace."""

from modules.models.model import Model
from modules.models.patch import ContextPatch, Live, Pass, Patch, PatchError, WeightPatch, patched

__all__ = ["ContextPatch", "Live", "Model", "Pass", "Patch", "PatchError", "WeightPatch", "patched"]
