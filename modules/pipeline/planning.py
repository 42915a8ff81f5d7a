"""From a request to a plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from types import MappingProxyType

from modules.catalogue import Catalogue, Entry
from modules.models import Pass
from modules.params import (
    DEFAULT_CFG,
    Img2ImgRequest,
    SamplerInfo,
    Settings,
    TagbrushError,
    Txt2ImgRequest,
    UnknownName,
    check_inputs,
    find_sampler,
    find_schedule,
    native_size,
)
from modules.prompt import ParsedPrompt, Style, Tokenizer, apply_styles, parse_prompt
from modules.sampling import needs_uncond

from .named import Tell, find_embedding_files, find_networks
from .plans import Batch, NetworkUse, Plan, Start

AnyRequest = Txt2ImgRequest | Img2ImgRequest
GRID = 8  # pixels of one latent
SEEDS = 2**64
NO_STYLES: Mapping[str, Style] = MappingProxyType({})


def plan(
    request: AnyRequest,
    settings: Settings,
    catalogue: Catalogue,
    tokenizer: Tokenizer,
    *,
    styles: Mapping[str, Style] = NO_STYLES,
    skip_indices: Collection[int] = (),
) -> Plan:
    """What `request` means under `settings` with the files there are; pictures in `skip_indices` exist already.

    The seed must be decided (`with_seed`). Networks and embeddings that cannot be had are told in the plan's notices.
    Raises TagbrushError where no picture can be made: an unknown checkpoint, VAE or sampler, no picture to start from.
    """
    if request.seed < 0:
        raise ValueError("a plan needs a seed; give the request to with_seed first")
    check_inputs(request)
    notices: dict[str, None] = {}
    tell: Tell = notices.setdefault
    checkpoint = _checkpoint(request, settings.sd_model_checkpoint, catalogue, tell)
    width, height = _size(request, checkpoint, tell)
    sampler, schedule = _sampler(request, tell)
    cfg_scale = next(value for value in (request.cfg_scale, checkpoint.cfg_scale, DEFAULT_CFG) if value is not None)
    prompt, negative = _prompts(request, request.steps * (2 if sampler.second_order else 1), styles, tell)
    networks = find_networks(prompt, Pass.BOTH, catalogue, tell)
    networks += _of_negative(prompt, find_networks(negative, Pass.UNCOND, catalogue, tell), cfg_scale, tell)
    embeddings = find_embedding_files(
        (prompt, negative), catalogue, tokenizer, width=checkpoint.width, mode=settings.emphasis, tell=tell
    )
    size, inits = _batch_size(request), _inits(request)
    pictures = [
        Picture(index, (request.seed + index) % SEEDS, prompt, negative, init, networks, embeddings)
        for index, init in zip(range(size * request.n_iter), cycle(inits), strict=False)
    ]
    return Plan(
        task=request.task,
        checkpoint=checkpoint,
        vae=_vae(request, settings.sd_vae, checkpoint, catalogue, tell),
        width=width,
        height=height,
        steps=request.steps,
        sampler=sampler.name,
        schedule=schedule,
        cfg_scale=cfg_scale,
        clip_skip=settings.CLIP_stop_at_last_layers,
        emphasis=settings.emphasis,
        backtrack=settings.comma_padding_backtrack,
        randn_source=settings.randn_source,
        eta_noise_seed_delta=settings.eta_noise_seed_delta,
        preview_every=max(settings.show_progress_every_n_steps, 0) if settings.live_previews_enable else 0,
        images=len(pictures),
        batches=split_batches(pictures, size, skip_indices),
        start=_start(request, settings),
        notices=tuple(notices),
    )


@dataclass(frozen=True)
class Picture:
    """One picture of a job, before it is decided which are made together."""

    index: int
    seed: int
    prompt: ParsedPrompt
    negative: ParsedPrompt
    init: str | None
    networks: tuple[NetworkUse, ...]
    embeddings: tuple[Entry, ...]


def split_batches(pictures: Sequence[Picture], size: int, skip_indices: Collection[int] = ()) -> tuple[Batch, ...]:
    """The pictures in batches of at most `size`; those of a batch share one set of networks (P058)."""
    batches = []
    for start in range(0, len(pictures), size):
        wanted = [picture for picture in pictures[start : start + size] if picture.index not in skip_indices]
        batches += [_batch(tuple(same)) for _, same in groupby(wanted, key=lambda picture: picture.networks)]
    return tuple(batches)


def _batch(pictures: tuple[Picture, ...]) -> Batch:
    return Batch(
        indices=tuple(picture.index for picture in pictures),
        seeds=tuple(picture.seed for picture in pictures),
        prompts=tuple(picture.prompt for picture in pictures),
        negatives=tuple(picture.negative for picture in pictures),
        inits=tuple(picture.init for picture in pictures),
        networks=pictures[0].networks,
        embeddings=tuple({entry.path: entry for picture in pictures for entry in picture.embeddings}.values()),
    )


def _checkpoint(request: AnyRequest, name: str, catalogue: Catalogue, tell: Tell) -> Entry:
    """The checkpoint that a setting names; without a name, or where its file is gone, the first that is good (D017).

    A request that names one itself gets that one or none.
    """
    found = catalogue.find_checkpoint(name) if name else None
    if found is not None:
        return found
    known = catalogue.entries("checkpoint")
    if name and "sd_model_checkpoint" in request.override_settings:
        raise UnknownName("Checkpoint", name, [entry.insert for entry in known])
    if not known:
        folders = ", ".join(str(folder) for folder in catalogue.folders.checkpoints)
        raise TagbrushError(f"There is no checkpoint. Put a .safetensors or .ckpt file into one of: {folders}.")
    first = next((entry for entry in known if entry.error is None), known[0])
    if name:
        tell(f'The checkpoint "{name}" is gone; {first.relative} is used.')
    return first


def _vae(request: AnyRequest, name: str, checkpoint: Entry, catalogue: Catalogue, tell: Tell) -> Entry | None:
    """The VAE that a setting names: "Automatic" is one that lies beside the checkpoint, "None" its own (D021, D022).

    Where its file is gone it is as `_checkpoint` says.
    """
    if name == "None":
        return None
    if name not in ("", "Automatic"):
        found = catalogue.find("vae", name)
        if found is not None:
            return found
        if "sd_vae" in request.override_settings:
            raise UnknownName("VAE", name, [entry.path.name for entry in catalogue.entries("vae")])
        tell(f'The VAE "{name}" is gone; the choice is automatic.')
    return catalogue.vae_beside(checkpoint)


def _size(request: AnyRequest, checkpoint: Entry, tell: Tell) -> tuple[int, int]:
    """Width and height: the checkpoint's own where the request gives none, whole latents in any case."""
    native = checkpoint.native_size or native_size(checkpoint.family)
    asked = (request.width or native[0], request.height or native[1])
    width, height = (side // GRID * GRID for side in asked)
    if (width, height) != asked:
        tell(f"{asked[0]}x{asked[1]} is not a multiple of {GRID}: the picture is {width}x{height}.")
    return width, height


def _sampler(request: AnyRequest, tell: Tell) -> tuple[SamplerInfo, str]:
    """The sampler and the label of its schedule; what "Automatic" means is decided."""
    sampler, named_schedule = find_sampler(request.sampler_name)
    if sampler.timesteps and request.steps == 1 and not isinstance(request, Img2ImgRequest):
        tell(f"{sampler.name} makes one step less than asked for: with 1 step the picture is noise. Ask for more.")
    schedule = (named_schedule or find_schedule(request.scheduler)).label
    is_open = schedule == "Automatic" or sampler.timesteps
    return sampler, sampler.default_schedule if is_open else schedule


def _prompts(
    request: AnyRequest, calls: int, styles: Mapping[str, Style], tell: Tell
) -> tuple[ParsedPrompt, ParsedPrompt]:
    """Prompt and negative prompt with styles merged (P001)."""
    chosen = [styles[name] for name in request.styles if name in styles]
    for name in request.styles:
        if name not in styles:
            tell(f"{UnknownName('Style', name, styles)} The picture is made without it.")
    prompt = apply_styles(request.prompt, [style.prompt for style in chosen])
    negative = apply_styles(request.negative_prompt, [style.negative_prompt for style in chosen])
    return parse_prompt(prompt, steps=calls), parse_prompt(negative, steps=calls, negative=True)


def _of_negative(
    prompt: ParsedPrompt, networks: tuple[NetworkUse, ...], cfg_scale: float, tell: Tell
) -> tuple[NetworkUse, ...]:
    """The networks of the negative prompt that have an effect: none where guidance leaves its pass out."""
    if needs_uncond(cfg_scale, (weight for weight, _ in prompt.parts)):
        return networks
    for use in networks:
        tell(
            f'"{use.name}" in the negative prompt has no effect at CFG scale {cfg_scale:g}. '
            "Raise the CFG scale, or name it in the prompt."
        )
    return ()


def _inits(request: AnyRequest) -> tuple[str | None, ...]:
    """The pictures to start from, used in turn; None is noise alone."""
    return request.init_images if isinstance(request, Img2ImgRequest) else (None,)


def _batch_size(request: AnyRequest) -> int:
    """How many pictures are made together: one for each picture to start from, if there are several."""
    count = len(_inits(request))
    return count if count > 1 else request.batch_size


def _start(request: AnyRequest, settings: Settings) -> Start | None:
    if not isinstance(request, Img2ImgRequest):
        return None
    return Start(
        strength=request.denoising_strength,
        resize_mode=request.resize_mode,
        exactly=settings.img2img_fix_steps,
        background=settings.img2img_background_color,
    )
