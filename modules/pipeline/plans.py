"""The plan of a job: everything decided, nothing left to chance or to a setting that may change meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from modules.catalogue import Entry
from modules.models import Pass
from modules.params import LimitSettings
from modules.prompt import Emphasis, ParsedPrompt
from modules.sampling import GuidanceOptions, SamplerOptions, Source


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
class Wording:
    """What the pictures of a batch are told in one stage. Prompts and negatives have one item for each picture."""

    prompts: tuple[ParsedPrompt, ...]
    negatives: tuple[ParsedPrompt, ...]
    networks: tuple[NetworkUse, ...]
    """In the order in which they are added; the same for every picture."""
    embeddings: tuple[Entry, ...]
    """Those that a prompt or negative prompt names, in order."""


@dataclass(frozen=True)
class Batch:
    """Pictures that are made together. All tuples have one item for each picture."""

    indices: tuple[int, ...]
    """Of the pictures in the job, counted from 0."""
    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]
    inits: tuple[str | None, ...]
    """Ids of the pictures they start from; None starts from noise alone."""
    first: Wording
    hires: Wording | None = None
    """None where there is no second stage."""


@dataclass(frozen=True)
class Variation:
    """How the noise of a seed is varied: mixed with that of a subseed, or taken from another size."""

    strength: float = 0.0
    """The subseed's share; 0 is the seed's noise alone."""
    resize_from: tuple[int, int] | None = None
    """The width and height that the seed's picture had, in pixels."""


@dataclass(frozen=True)
class Refiner:
    """The checkpoint that takes over for the last steps of a stage."""

    checkpoint: Entry
    vae: Entry | None
    switch_at: float
    """The share that is made before it: of the noise, or of the steps."""
    by_steps: bool


@dataclass(frozen=True)
class Stage:
    """One walk from noise to a picture: the whole of a job, or the first or second of two with hires fix."""

    checkpoint: Entry
    vae: Entry | None
    """None takes the checkpoint's own."""
    width: int
    height: int
    steps: int
    sampler: str
    schedule: str
    """As asked for; samplers of timesteps do not heed it."""
    strength: float | None
    """How far from the picture that it starts from; None starts from noise alone."""
    exactly: bool
    """Walk all the steps asked for, of a longer schedule, instead of a part of them."""
    options: SamplerOptions
    refiner: Refiner | None
    token_merging: float
    """The share of tokens that self-attention does without."""
    sdxl_size: tuple[int, int]
    """The width and height that SDXL is told."""


@dataclass(frozen=True)
class HiresAsked:
    """What the person said, as the infotext says it again; 0 leaves it to the rest."""

    scale: float
    resize_x: int
    resize_y: int
    steps: int


@dataclass(frozen=True)
class Hires:
    """The second stage of txt2img, which starts from the first one's picture, enlarged."""

    stage: Stage
    upscaler: str
    width: int
    height: int
    """The size to which the picture is enlarged; what hangs over the stage's own size is cut off."""
    with_first_networks: bool
    """Encode its prompts with the networks of the first stage."""
    asked: HiresAsked


class Fill(IntEnum):
    """What is under the mask before anything is drawn there."""

    AROUND = 0
    """The colours around it."""
    ORIGINAL = 1
    NOISE = 2
    NOTHING = 3


@dataclass(frozen=True)
class Soft:
    """How what is made anew and what stays blend into each other: soft inpainting, named as A1111's page does."""

    schedule_bias: float
    preservation_strength: float
    transition_contrast_boost: float
    mask_influence: float
    difference_threshold: float
    difference_contrast: float


@dataclass(frozen=True)
class Inpaint:
    """Which part of the picture is made anew, and how it is joined to the rest."""

    mask: str
    """The id of a stored picture."""
    blur: tuple[int, int]
    """Across and upright, in pixels."""
    is_round: bool
    """Each latent is inside or outside; without it, edges are soft."""
    is_inverted: bool
    """Everything but what the mask marks is made anew."""
    fill: Fill
    padding: int | None
    """Draw only the marked part at the size asked for, with so many pixels around it; None draws the whole picture."""
    overlays: bool
    """Lay the original over what is not made anew."""
    shows_mask: bool
    shows_composite: bool
    soft: Soft | None = None
    """None has a hard edge, or the mask's own soft one."""


@dataclass(frozen=True)
class Start:
    """How a picture is made from another one."""

    resize_mode: int
    background: str
    """The colour that shows through transparent parts."""
    noise_multiplier: float
    matches_colours: bool
    """Give the result the colours of the picture."""
    image_cfg_scale: float | None
    """How closely an instruct-pix2pix model keeps to the picture; None guides it by the prompt alone, and so does 1."""
    inpaint: Inpaint | None


@dataclass(frozen=True)
class Tiles:
    """That the picture to start from is enlarged, and redrawn in tiles of the stage's size: the script SD upscale."""

    upscaler: str
    scale: float
    overlap: int
    """Pixels over which one tile fades into the next."""
    together: int
    """How many tiles are made in one go, at most."""
    limits: LimitSettings
    """How large the picture may become, and of how many tiles."""


@dataclass(frozen=True)
class PromptOptions:
    """How prompts become conditioning."""

    clip_skip: int
    emphasis: Emphasis
    backtrack: int
    old_emphasis: bool
    old_schedules: bool
    """Prompt editing as before A1111 1.6, in a prompt where that makes a difference."""
    sdxl_clip_l_skip: bool
    sdxl_crop: tuple[int, int]
    """Top and left of the picture that SDXL believes to see."""
    sdxl_scores: tuple[float, float]
    """The aesthetic scores that its refiner is told, of the prompt and of the negative prompt."""


@dataclass(frozen=True)
class Plan:
    """What a job will do. Two jobs with equal plans make equal pictures."""

    task: Literal["txt2img", "img2img"]
    first: Stage
    hires: Hires | None
    firstpass_image: str | None
    """The id of a picture that takes the place of the first stage's."""
    start: Start | None
    """Only with img2img."""
    tiles: Tiles | None
    """None makes the picture in one piece; with tiles, each batch is one picture."""
    cfg_scale: float
    guidance: GuidanceOptions
    noise_schedule: Literal["Default", "Zero Terminal SNR"]
    downcast_alphas: bool
    """Round the noise schedule to half precision, as A1111 before 1.7 did."""
    prompting: PromptOptions
    tiling: bool
    randn_source: Source
    eta_noise_seed_delta: int
    variation: Variation
    extra_noise: float
    """What is added once more to a picture that a stage starts from, as a share of the noise."""
    mask_weight: float
    """How much of what is to be made anew inpainting models do not see."""
    preview_every: int
    """Steps between two previews; 0 makes none."""
    images: int
    """Pictures of the whole job, those that exist already included."""
    batches: tuple[Batch, ...]
    notices: tuple[str, ...]
    """What the person should know although the job can be done."""
