"""What the pipeline needs from its surroundings, and what it tells them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image

from modules.catalogue import Entry
from modules.conditioning import ConditioningCache
from modules.models import Model
from modules.networks import NetworkCache
from modules.prompt import Tokenizer


@dataclass(frozen=True)
class FinishedPicture:
    """A picture with its text; `is_complete` is False where the person stopped it before its last step."""

    index: int
    image: Image.Image
    seed: int
    infotext: str
    is_complete: bool = True
    subseed: int = -1
    kind: Literal["picture", "mask", "composite"] = "picture"
    """What is shown beside an inpainted picture comes after it, with an index above those of all pictures."""


class Resources(Protocol):
    """What a worker keeps from one job to the next."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def networks(self) -> NetworkCache: ...

    @property
    def conditionings(self) -> ConditioningCache: ...

    def acquire(self, checkpoint: Entry, vae: Entry | None) -> Model:
        """The checkpoint in memory, with that VAE in place of its own."""

    def read_input(self, input_id: str) -> bytes:
        """The bytes of a picture that a request names."""

    def shorthash(self, entry: Entry) -> Future[str]:
        """The digits of the file's hash that infotexts show, computed in the background."""


class Control(Protocol):
    """What the person asks meanwhile; polled at every step. `skipped` is taken back when it has been followed."""

    interrupted: bool
    skipped: bool


class Reporter(Protocol):
    """Who is told what happens."""

    def progress(self, batch: int, batches: int, step: int, steps: int, images_done: int, images: int) -> None:
        """`step` of `steps` are done of `batch`, counted from 0; `images_done` of the job's `images` are finished."""

    def preview(self, draw: Callable[[], Image.Image]) -> None:
        """`draw` gives a small picture of the batch so far; it waits for the device, so it is not drawn in vain."""

    def picture(self, picture: FinishedPicture) -> None:
        """A picture is finished."""

    def notice(self, text: str) -> None:
        """Something the person should know, each text once."""
