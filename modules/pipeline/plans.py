"""The plan of a job: everything decided, nothing left to chance or to a setting that may change meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modules.catalogue import Entry
from modules.models import Pass
from modules.prompt import Emphasis, ParsedPrompt
from modules.sampling import Source


@dataclass(frozen=True)
class NetworkUse:
    """A LoRA or hypernetwork, how strongly it acts on the text encoder and on the UNet, and in which pass."""

    kind: Literal["lora", "hypernet"]
    entry: Entry
    name: str
    """As the prompt calls it."""
    te: float
    unet: float
    dyn: int | None = None
    on: Pass = Pass.BOTH


@dataclass(frozen=True)
class Batch:
    """Pictures that are made together. All tuples but the last two have one item for each picture."""

    indices: tuple[int, ...]
    """Of the pictures in the job, counted from 0."""
    seeds: tuple[int, ...]
    prompts: tuple[ParsedPrompt, ...]
    negatives: tuple[ParsedPrompt, ...]
    inits: tuple[str | None, ...]
    """Ids of the pictures they start from; None starts from noise alone."""
    networks: tuple[NetworkUse, ...]
    """In the order in which they are added; the same for every picture."""
    embeddings: tuple[Entry, ...]
    """Those that a prompt or negative prompt names, in order."""


@dataclass(frozen=True)
class Start:
    """How a picture is made from another one."""

    strength: float
    resize_mode: int
    exactly: bool
    """Walk all the steps asked for, of a longer schedule, instead of a part of them."""
    background: str
    """The colour that shows through transparent parts."""


@dataclass(frozen=True)
class Plan:
    """What a job will do. Two jobs with equal plans make equal pictures."""

    task: Literal["txt2img", "img2img"]
    checkpoint: Entry
    vae: Entry | None
    """None takes the checkpoint's own."""
    width: int
    height: int
    steps: int
    sampler: str
    schedule: str
    cfg_scale: float
    clip_skip: int
    emphasis: Emphasis
    backtrack: int
    randn_source: Source
    eta_noise_seed_delta: int
    preview_every: int
    """Steps between two previews; 0 makes none."""
    images: int
    """Pictures of the whole job, those that exist already included."""
    batches: tuple[Batch, ...]
    start: Start | None
    notices: tuple[str, ...]
    """What the person should know although the job can be done."""
