"""From a request to a plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, groupby
from types import MappingProxyType

from modules.catalogue import Catalogue, Entry
from modules.params import (
    DEFAULT_CFG,
    Img2ImgRequest,
    Settings,
    Txt2ImgRequest,
    check_inputs,
    find_sampler,
    hires_size,
    is_tiled,
    made_together,
)
from modules.prompt import Styled, Tokenizer

from .choices import (
    AnyRequest,
    choose_checkpoint,
    choose_sampler,
    choose_size,
    choose_start,
    choose_tiles,
    choose_vae,
    choose_variation,
    guidance_options,
    hires_schedule,
    named_checkpoint,
    prompt_options,
    sampler_options,
    token_merging,
)
from .named import Tell
from .plans import Batch, Hires, HiresAsked, Plan, Refiner, Stage, Variation, Wording
from .wording import Teller, Timeline, Told

SEEDS = 2**64
NEVER = 1.0
"""A refiner that is to take over here never does."""
NO_STYLES: Mapping[str, Styled] = MappingProxyType({})


def plan(
    request: AnyRequest,
    settings: Settings,
    catalogue: Catalogue,
    tokenizer: Tokenizer,
    *,
    styles: Mapping[str, Styled] = NO_STYLES,
    skip_indices: Collection[int] = (),
) -> Plan:
    """What `request` means under `settings` with the files there are; pictures in `skip_indices` exist already.

    The seeds must be decided (`with_seed`). Networks and embeddings that cannot be had are told in the plan's notices.
    Raises TagbrushError where no picture can be made: an unknown checkpoint, VAE or sampler, no picture to start from.
    """
    if request.seed < 0:
        raise ValueError("a plan needs a seed; give the request to with_seed first")
    check_inputs(request)
    notices: dict[str, None] = {}
    tell: Tell = notices.setdefault
    decide = _Decider(request, settings, catalogue, tell)
    first = decide.first()
    hires = decide.hires(first)
    recommended = first.checkpoint.cfg_scale
    cfg_scale = next(value for value in (request.cfg_scale, recommended, DEFAULT_CFG) if value is not None)
    timeline = Timeline(_calls(first), _calls(hires.stage) if hires else None)
    start = choose_start(request, settings) if isinstance(request, Img2ImgRequest) else None
    image_cfg_scale = start.image_cfg_scale if start else None
    teller = Teller(request, settings, catalogue, tokenizer, styles, cfg_scale, image_cfg_scale, timeline, tell)
    variation = choose_variation(request)
    pictures = _pictures(
        request,
        variation,
        teller.first(first),
        teller.hires(hires.stage) if hires else None,
    )
    return Plan(
        task=request.task,
        first=first,
        hires=hires,
        firstpass_image=_firstpass_image(request) if hires else None,
        start=start,
        tiles=choose_tiles(request, settings, first.width, first.height, _tiles_together(request, first), tell),
        cfg_scale=cfg_scale,
        guidance=guidance_options(request, settings),
        noise_schedule=settings.sd_noise_schedule,
        downcast_alphas=settings.use_downcasted_alpha_bar,
        prompting=prompt_options(settings, old_schedules=teller.old_schedules),
        tiling=request.tiling,
        randn_source=settings.randn_source,
        eta_noise_seed_delta=settings.eta_noise_seed_delta,
        variation=variation,
        extra_noise=settings.img2img_extra_noise,
        mask_weight=settings.inpainting_mask_weight,
        preview_every=max(settings.show_progress_every_n_steps, 0) if settings.live_previews_enable else 0,
        images=len(pictures),
        batches=split_batches(pictures, _made_together(request, first, hires), skip_indices),
        notices=tuple(notices),
    )


@dataclass(frozen=True)
class _Decider:
    """Decides the stages of a request."""

    request: AnyRequest
    settings: Settings
    catalogue: Catalogue
    tell: Tell

    def first(self) -> Stage:
        """The only stage, or the first of two."""
        request, settings = self.request, self.settings
        checkpoint = choose_checkpoint(request, settings.sd_model_checkpoint, self.catalogue, self.tell)
        width, height = choose_size(request, checkpoint, self.tell)
        sampler, schedule = choose_sampler(request.sampler_name, request.scheduler)
        is_img2img = isinstance(request, Img2ImgRequest)
        if sampler.timesteps and sampler.name != "UniPC" and request.steps == 1 and not is_img2img:
            self.tell(
                f"{sampler.name} makes one step less than asked for: with 1 step the picture is noise. Ask for more."
            )
        has_two = not is_img2img and request.enable_hr
        return Stage(
            checkpoint=checkpoint,
            vae=self._vae(checkpoint),
            width=width,
            height=height,
            steps=request.steps,
            sampler=sampler.name,
            schedule=schedule,
            strength=request.denoising_strength if is_img2img else None,
            exactly=is_img2img and settings.img2img_fix_steps,
            options=sampler_options(request, settings, sampler),
            refiner=None if has_two and settings.hires_fix_refiner_pass == "second pass" else self._refiner(checkpoint),
            token_merging=token_merging(request, settings),
            sdxl_size=(width, height),
        )

    def hires(self, first: Stage) -> Hires | None:
        """The second stage, where hires fix is asked for: as the first, save for what the request says of it."""
        request, settings = self.request, self.settings
        if not isinstance(request, Txt2ImgRequest) or not request.enable_hr:
            return None
        asked = HiresAsked(request.hr_scale, request.hr_resize_x, request.hr_resize_y, request.hr_second_pass_steps)
        size = hires_size(
            first.width, first.height, scale=asked.scale, resize_x=asked.resize_x, resize_y=asked.resize_y
        )
        checkpoint = first.checkpoint
        if request.hr_checkpoint_name:
            checkpoint = named_checkpoint("Hires checkpoint", request.hr_checkpoint_name, self.catalogue)
        sampler, schedule = choose_sampler(request.hr_sampler_name or request.sampler_name, hires_schedule(request))
        stage = replace(
            first,
            checkpoint=checkpoint,
            vae=self._vae(checkpoint),
            width=size.kept_width,
            height=size.kept_height,
            steps=asked.steps or request.steps,
            sampler=sampler.name,
            schedule=schedule,
            strength=request.denoising_strength,
            exactly=True,
            options=sampler_options(request, settings, sampler),
            refiner=None if settings.hires_fix_refiner_pass == "first pass" else self._refiner(checkpoint),
            token_merging=token_merging(request, settings, hires=True),
            sdxl_size=(size.width, size.height),
        )
        with_first_networks = settings.hires_fix_use_firstpass_conds
        return Hires(stage, request.hr_upscaler, size.width, size.height, with_first_networks, asked)

    def _vae(self, checkpoint: Entry) -> Entry | None:
        return choose_vae(self.request, self.settings, checkpoint, self.catalogue, self.tell)

    def _refiner(self, checkpoint: Entry) -> Refiner | None:
        """Who takes over from `checkpoint`; nobody where that is the same file, or at the very end."""
        name, switch_at = self.request.refiner_checkpoint, self.request.refiner_switch_at
        if not name or name == "None" or switch_at >= NEVER:
            return None
        refiner = named_checkpoint("Refiner checkpoint", name, self.catalogue)
        if refiner.path == checkpoint.path:
            return None
        return Refiner(refiner, self._vae(refiner), switch_at, self.settings.refiner_switch_by_sample_steps)


@dataclass(frozen=True)
class Picture:
    """One picture of a job, before it is decided which are made together."""

    index: int
    seed: int
    subseed: int
    init: str | None
    first: Told
    hires: Told | None = None


def _pictures(request: AnyRequest, variation: Variation, first: Told, hires: Told | None) -> list[Picture]:
    """All pictures of a job. Seeds count up; with a variation strength the seed stays and the subseed counts (P003).

    Of pictures made of tiles the seed counts up in any case, and the subseed stays, as in A1111.
    """
    count = made_together(request) * request.n_iter
    counts_subseeds = not is_tiled(request)
    counts_seeds = not (variation.strength and counts_subseeds)
    return [
        Picture(
            index,
            (request.seed + index * counts_seeds) % SEEDS,
            (request.subseed + index * counts_subseeds) % SEEDS,
            init,
            first,
            hires,
        )
        for index, init in zip(range(count), cycle(_inits(request)), strict=False)
    ]


def split_batches(pictures: Sequence[Picture], size: int, skip_indices: Collection[int] = ()) -> tuple[Batch, ...]:
    """The pictures in batches of at most `size`; those of a batch share one set of networks (P058)."""
    batches = []
    for start in range(0, len(pictures), size):
        wanted = [picture for picture in pictures[start : start + size] if picture.index not in skip_indices]
        batches += [_batch(tuple(same)) for _, same in groupby(wanted, key=_networks)]
    return tuple(batches)


def _networks(picture: Picture) -> tuple[object, ...]:
    return picture.first.networks, picture.hires.networks if picture.hires else ()


def _batch(pictures: tuple[Picture, ...]) -> Batch:
    hires = [picture.hires for picture in pictures if picture.hires is not None]
    return Batch(
        indices=tuple(picture.index for picture in pictures),
        seeds=tuple(picture.seed for picture in pictures),
        subseeds=tuple(picture.subseed for picture in pictures),
        inits=tuple(picture.init for picture in pictures),
        first=_wording([picture.first for picture in pictures]),
        hires=_wording(hires) if hires else None,
    )


def _wording(told: Sequence[Told]) -> Wording:
    return Wording(
        prompts=tuple(one.prompt for one in told),
        negatives=tuple(one.negative for one in told),
        networks=told[0].networks,
        embeddings=tuple({entry.path: entry for one in told for entry in one.embeddings}.values()),
    )


def _calls(stage: Stage) -> int:
    """How many calls of the model a prompt's numbers are measured against."""
    sampler, _ = find_sampler(stage.sampler)
    return sampler.calls(stage.steps)


def _firstpass_image(request: AnyRequest) -> str | None:
    return request.firstpass_image or None if isinstance(request, Txt2ImgRequest) else None


def _inits(request: AnyRequest) -> tuple[str | None, ...]:
    """The pictures to start from, used in turn; None is noise alone."""
    if not isinstance(request, Img2ImgRequest):
        return (None,)
    return request.init_images[:1] if is_tiled(request) else request.init_images


def _made_together(request: AnyRequest, first: Stage, hires: Hires | None) -> int:
    """How many pictures one batch has at most: one where steps depend on the picture, so that it is the same alone."""
    stages = [first, *([hires.stage] if hires else [])]
    is_adaptive = any(find_sampler(stage.sampler)[0].adaptive for stage in stages)
    return 1 if is_adaptive else made_together(request)


def _tiles_together(request: AnyRequest, first: Stage) -> int:
    """The same of tiles."""
    return 1 if find_sampler(first.sampler)[0].adaptive else request.batch_size
