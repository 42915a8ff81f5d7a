"""What a request leaves open, decided: checkpoint, VAE, size, sampler, and how they are used."""

from __future__ import annotations

from typing import Final, Literal, TypeVar

from modules.catalogue import Catalogue, Entry
from modules.images.tiles import lay_out
from modules.params import (
    LATENT_PIXELS,
    Img2ImgRequest,
    LimitSettings,
    SamplerInfo,
    Settings,
    TagbrushError,
    Txt2ImgRequest,
    UnknownName,
    find_sampler,
    find_schedule,
    is_tiled,
    native_size,
)
from modules.sampling import GuidanceOptions, SamplerOptions

from .named import Tell
from .plans import Fill, Inpaint, PromptOptions, Soft, Start, Tiles, Variation

AnyRequest = Txt2ImgRequest | Img2ImgRequest
Number = TypeVar("Number", int, float)
AUTOMATIC: Final = "Automatic"
OPEN_VAES = ("", AUTOMATIC, "auto")
"""What the setting of the VAE is where it leaves the choice open; the last of them in files of early versions."""
NONE = "None"


def choose_checkpoint(request: AnyRequest, name: str, catalogue: Catalogue, tell: Tell) -> Entry:
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


def named_checkpoint(label: str, name: str, catalogue: Catalogue) -> Entry:
    """The checkpoint that a request names for a part of its work; `label` says which. Raises UnknownName."""
    found = catalogue.find_checkpoint(name)
    if found is None:
        raise UnknownName(label, name, [entry.insert for entry in catalogue.entries("checkpoint")])
    return found


def choose_vae(
    request: AnyRequest, settings: Settings, checkpoint: Entry, catalogue: Catalogue, tell: Tell
) -> Entry | None:
    """The VAE to use in place of the checkpoint's own; None is its own (D021, D022).

    The command line's VAE goes before all. Then the setting decides, unless it is automatic or gives way to what the
    checkpoint's card names; then the card does, then a file beside the checkpoint, and the setting again. Where a file
    is gone it is as `choose_checkpoint` says.
    """
    if fixed := catalogue.fixed_vae():
        return fixed
    is_open = settings.sd_vae in OPEN_VAES
    if not is_open and settings.sd_vae_overrides_per_model_preferences:
        found = _set_vae(request, settings.sd_vae, catalogue, tell)
        if found is not AUTOMATIC:
            return found
    carded = str(checkpoint.sidecar.get("vae") or AUTOMATIC)
    if carded == NONE:
        return None
    if carded != AUTOMATIC:
        found = catalogue.find("vae", carded)
        if found is not None:
            return found
        tell(f'The VAE "{carded}", which the card of {checkpoint.name} names, is gone; the choice is automatic.')
    beside = catalogue.vae_beside(checkpoint)
    if beside is not None or is_open:
        return beside
    found = _set_vae(request, settings.sd_vae, catalogue, tell)
    return None if found is AUTOMATIC else found


def _set_vae(request: AnyRequest, name: str, catalogue: Catalogue, tell: Tell) -> Entry | Literal["Automatic"] | None:
    """The VAE that a setting names; "Automatic" where its file is gone."""
    if name == NONE:
        return None
    found = catalogue.find("vae", name)
    if found is not None:
        return found
    if "sd_vae" in request.override_settings:
        raise UnknownName("VAE", name, [entry.path.name for entry in catalogue.entries("vae")])
    tell(f'The VAE "{name}" is gone; the choice is automatic.')
    return AUTOMATIC


def choose_size(request: AnyRequest, checkpoint: Entry, tell: Tell) -> tuple[int, int]:
    """Width and height: the checkpoint's own where the request gives none, whole latents in any case."""
    native = checkpoint.native_size or native_size(checkpoint.family)
    asked = (request.width or native[0], request.height or native[1])
    width, height = (side // LATENT_PIXELS * LATENT_PIXELS for side in asked)
    if (width, height) != asked:
        tell(f"{asked[0]}x{asked[1]} is not a multiple of {LATENT_PIXELS}: the picture is {width}x{height}.")
    return width, height


def choose_sampler(name: str, schedule: str) -> tuple[SamplerInfo, str]:
    """The sampler and the label of its schedule; what "Automatic" means is decided. Raises UnknownName."""
    sampler, named_schedule = find_sampler(name)
    label = (named_schedule or find_schedule(schedule)).label
    return sampler, sampler.default_schedule if label == AUTOMATIC else label


def hires_schedule(request: Txt2ImgRequest) -> str:
    """The name of the second stage's schedule: its own, else the first stage's as the request asks for it.

    As in A1111, one that is joined to the first sampler's name is asked for unless that sampler has it by default.
    """
    sampler, joined = find_sampler(request.sampler_name)
    if request.hr_scheduler or joined is None:
        return request.hr_scheduler or request.scheduler
    return AUTOMATIC if joined.label == sampler.default_schedule else joined.label


def sampler_options(request: AnyRequest, settings: Settings, sampler: SamplerInfo) -> SamplerOptions:
    """What the request says of the sampler's numbers, and the settings where it says nothing (U010)."""
    own_eta = settings.eta_ddim if sampler.timesteps else settings.eta_ancestral
    return SamplerOptions(
        eta=_first(request.eta, own_eta),
        s_churn=_first(request.s_churn, settings.s_churn),
        s_tmin=_first(request.s_tmin, settings.s_tmin),
        s_tmax=_first(request.s_tmax, settings.s_tmax),
        s_noise=_first(request.s_noise, settings.s_noise),
        sigma_min=settings.sigma_min,
        sigma_max=settings.sigma_max,
        rho=settings.rho,
        discard_penultimate=settings.always_discard_next_to_last_sigma,
        old_karras=settings.use_old_karras_scheduler_sigmas,
        quantize=settings.enable_quantization,
        beta_alpha=settings.beta_dist_alpha,
        beta_beta=settings.beta_dist_beta,
        sgm_noise_multiplier=settings.sgm_noise_multiplier,
        uni_pc_variant=settings.uni_pc_variant,
        uni_pc_skip_type=settings.uni_pc_skip_type,
        uni_pc_order=settings.uni_pc_order,
        uni_pc_lower_order_final=settings.uni_pc_lower_order_final,
    )


def guidance_options(request: AnyRequest, settings: Settings) -> GuidanceOptions:
    """When the unconditional pass is left out, and how prompts of different length meet."""
    return GuidanceOptions(
        s_min_uncond=_first(request.s_min_uncond, settings.s_min_uncond),
        s_min_uncond_all=settings.s_min_uncond_all,
        skip_early_cond=settings.skip_early_cond,
        batch_cond_uncond=settings.batch_cond_uncond,
        pad_cond_uncond=settings.pad_cond_uncond,
        pad_cond_uncond_v0=settings.pad_cond_uncond_v0,
    )


def prompt_options(settings: Settings, *, old_schedules: bool) -> PromptOptions:
    """How prompts become conditioning under these settings."""
    return PromptOptions(
        clip_skip=settings.CLIP_stop_at_last_layers,
        emphasis=settings.emphasis,
        backtrack=settings.comma_padding_backtrack,
        old_emphasis=settings.use_old_emphasis_implementation,
        old_schedules=old_schedules,
        sdxl_clip_l_skip=settings.sdxl_clip_l_skip,
        sdxl_crop=(settings.sdxl_crop_top, settings.sdxl_crop_left),
        sdxl_scores=(settings.sdxl_refiner_high_aesthetic_score, settings.sdxl_refiner_low_aesthetic_score),
    )


def choose_variation(request: AnyRequest) -> Variation:
    """How the noise of a seed is varied; a size to resize from takes both numbers."""
    width, height = request.seed_resize_from_w, request.seed_resize_from_h
    return Variation(request.subseed_strength, (width, height) if width > 0 and height > 0 else None)


def token_merging(request: AnyRequest, settings: Settings, *, hires: bool = False) -> float:
    """The share of tokens to merge: that of the kind of work, where it is not 0, else the general one.

    Of img2img the general one goes before, where the request itself sets it.
    """
    general = settings.token_merging_ratio
    if isinstance(request, Img2ImgRequest):
        asked = general if "token_merging_ratio" in request.override_settings else 0.0
        return asked or settings.token_merging_ratio_img2img or general
    return (settings.token_merging_ratio_hr if hires else 0.0) or general


def choose_start(request: Img2ImgRequest, settings: Settings) -> Start:
    """What the request says of its start, and the settings where it says nothing."""
    return Start(
        resize_mode=request.resize_mode,
        background=settings.img2img_background_color,
        noise_multiplier=_first(request.initial_noise_multiplier, settings.initial_noise_multiplier),
        matches_colours=settings.img2img_color_correction,
        image_cfg_scale=request.image_cfg_scale,
        inpaint=_inpaint(request, settings) if request.mask and not is_tiled(request) else None,
    )


def choose_tiles(
    request: AnyRequest, settings: Settings, width: int, height: int, together: int, tell: Tell
) -> Tiles | None:
    """How the picture is enlarged and redrawn in tiles of width x height; None where that is not asked for.

    As in A1111, one picture is taken, and no mask; what is left out is told. Raises BadRequest where tiles are not
    larger than their overlap.
    """
    if not isinstance(request, Img2ImgRequest) or not is_tiled(request):
        return None
    if request.mask:
        tell("SD upscale redraws the whole picture: the mask is left out.")
    if len(request.init_images) > 1:
        tell(f"SD upscale takes one picture: the first of the {len(request.init_images)} is used.")
    lay_out(width, height, width, height, request.sd_upscale_overlap)
    return Tiles(
        upscaler=request.sd_upscale_upscaler,
        scale=request.sd_upscale_scale,
        overlap=request.sd_upscale_overlap,
        together=together,
        limits=LimitSettings(max_megapixels=settings.max_megapixels, max_pictures=settings.max_pictures),
    )


def _inpaint(request: Img2ImgRequest, settings: Settings) -> Inpaint:
    return Inpaint(
        mask=request.mask,
        blur=(_first(request.mask_blur_x, request.mask_blur), _first(request.mask_blur_y, request.mask_blur)),
        is_round=request.mask_round and not request.soft_inpainting,
        is_inverted=bool(request.inpainting_mask_invert),
        fill=Fill(request.inpainting_fill),
        padding=request.inpaint_full_res_padding if request.inpaint_full_res else None,
        overlays=settings.overlay_inpaint,
        shows_mask=settings.return_mask,
        shows_composite=settings.return_mask_composite,
        soft=_soft(request) if request.soft_inpainting else None,
    )


def _soft(request: Img2ImgRequest) -> Soft:
    return Soft(
        schedule_bias=request.soft_inpainting_schedule_bias,
        preservation_strength=request.soft_inpainting_preservation_strength,
        transition_contrast_boost=request.soft_inpainting_transition_contrast_boost,
        mask_influence=request.soft_inpainting_mask_influence,
        difference_threshold=request.soft_inpainting_difference_threshold,
        difference_contrast=request.soft_inpainting_difference_contrast,
    )


def _first(asked: Number | None, otherwise: Number) -> Number:
    return otherwise if asked is None else asked
