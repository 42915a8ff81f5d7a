"""The pipeline: what a request means, and the story from there to finished pictures."""

from .planning import plan
from .plans import Batch, NetworkUse, Plan, Start
from .ports import Control, FinishedPicture, Reporter, Resources
from .story import generate

__all__ = [
    "Batch",
    "Control",
    "FinishedPicture",
    "NetworkUse",
    "Plan",
    "Reporter",
    "Resources",
    "Start",
    "generate",
    "plan",
]
