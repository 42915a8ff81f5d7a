"""The pipeline: what a request means, and the story from there to finished pictures."""

from .planning import plan
from .plans import Batch, Hires, NetworkUse, Plan, Refiner, Stage, Wording
from .ports import Control, FinishedPicture, Reporter, Resources
from .story import generate

__all__ = [
    "Batch",
    "Control",
    "FinishedPicture",
    "Hires",
    "NetworkUse",
    "Plan",
    "Refiner",
    "Reporter",
    "Resources",
    "Stage",
    "Wording",
    "generate",
    "plan",
]
