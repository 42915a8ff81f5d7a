"""The parts of a request, each parameter declared once, under A1111's wire names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import field_validator

from .declare import Group, param
from .samplers import find_sampler, find_schedule
from .sizes import LARGEST_SIDE
from .upscalers import HIRES_UPSCALERS, check_upscaler

LONGEST_PROMPT = 1_000_000  # characters
LARGEST_SEED = 2**64 - 1

RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
FILLS = ("fill", "original", "latent noise", "latent nothing")
MASK_MODES = ("Inpaint masked", "Inpaint not masked")
AREAS = ("Whole picture", "Only masked")
SAME_SAMPLER = "Use same sampler"
SAME_SCHEDULE = "Use same scheduler"


class Prompting(Group):
    prompt: str = param("", "Prompt", max_length=LONGEST_PROMPT)
    negative_prompt: str = param("", "Negative prompt", max_length=LONGEST_PROMPT)
    styles: tuple[str, ...] = param((), "Styles")
    disable_extra_networks: bool = param(
        False, "Leave networks out", help="tags are taken out of the prompt, and no network is loaded"
    )


class Sampling(Group):
    steps: int = param(20, "Sampling steps", infotext="Steps", ge=1, le=10_000, ui=(1, 150, 1))
    sampler_name: str = param("DPM++ 2M", "Sampling method", infotext="Sampler", choices="samplers")
    scheduler: str = param("Automatic", "Schedule type", infotext="Schedule type", choices="schedules")
    cfg_scale: float | None = param(
        None,
        "CFG Scale",
        infotext="CFG scale",
        ge=0,
        le=1_000,
        ui=(1, 30, 0.5),
        help="empty: the checkpoint's own, else 7",
    )
    eta: float | None = param(None, "Eta", ge=0, le=100, help="empty: as the settings say")
    s_min_uncond: float | None = param(
        None, "Negative guidance minimum sigma", ge=0, le=1_000, help="empty: as the settings say"
    )
    s_churn: float | None = param(None, "Sigma churn", ge=0, le=1_000, help="empty: as the settings say")
    s_tmin: float | None = param(None, "Sigma tmin", ge=0, le=1_000, help="empty: as the settings say")
    s_tmax: float | None = param(None, "Sigma tmax", ge=0, le=1_000, help="empty: as the settings say; 0: no limit")
    s_noise: float | None = param(None, "Sigma noise", ge=0, le=100, help="empty: as the settings say")

    @field_validator("sampler_name")
    @classmethod
    def _known_sampler(cls, name: str) -> str:
        find_sampler(name)
        return name

    @field_validator("scheduler")
    @classmethod
    def _known_schedule(cls, name: str) -> str:
        return find_schedule(name).label


class Canvas(Group):
    width: int | None = param(
        None, "Width", infotext="Size-1", ge=64, le=LARGEST_SIDE, ui=(64, 2048, 8), help="empty: the checkpoint's own"
    )
    height: int | None = param(
        None, "Height", infotext="Size-2", ge=64, le=LARGEST_SIDE, ui=(64, 2048, 8), help="empty: the checkpoint's own"
    )
    batch_size: int = param(1, "Batch size", ge=1, le=128, ui=(1, 8, 1))
    n_iter: int = param(1, "Batch count", ge=1, le=10_000, ui=(1, 100, 1))
    tiling: bool = param(False, "Tiling", infotext="Tiling", help="opposite edges of the picture fit each other")


class Seeding(Group):
    seed: int = param(-1, "Seed", infotext="Seed", ge=-1, le=LARGEST_SEED, help="-1: a new one each time")
    subseed: int = param(
        -1, "Variation seed", infotext="Variation seed", ge=-1, le=LARGEST_SEED, help="-1: a new one each time"
    )
    subseed_strength: float = param(
        0.0, "Variation strength", infotext="Variation seed strength", ge=0, le=1, ui=(0, 1, 0.01)
    )
    seed_resize_from_w: int = param(
        0, "Resize seed from width", infotext="Seed resize from-1", ge=-1, le=LARGEST_SIDE, ui=(0, 2048, 8)
    )
    seed_resize_from_h: int = param(
        0, "Resize seed from height", infotext="Seed resize from-2", ge=-1, le=LARGEST_SIDE, ui=(0, 2048, 8)
    )


class Refining(Group):
    refiner_checkpoint: str = param(
        "", "Refiner checkpoint", infotext="Refiner", choices="checkpoints", help="takes over for the last steps"
    )
    refiner_switch_at: float = param(
        0.8, "Switch at", infotext="Refiner switch at", ge=0, le=1, ui=(0.01, 1, 0.01), help="the share made before it"
    )

    @field_validator("refiner_checkpoint")
    @classmethod
    def _no_refiner(cls, name: str) -> str:
        return "" if name == "None" else name


class Hires(Group):
    """The second pass of txt2img, at a larger size."""

    enable_hr: bool = param(False, "Hires. fix")
    denoising_strength: float = param(
        0.7, "Denoising strength", infotext="Denoising strength", ge=0, le=1, ui=(0, 1, 0.01)
    )
    hr_upscaler: str = param("Latent", "Upscaler", infotext="Hires upscaler", choices=HIRES_UPSCALERS)
    hr_second_pass_steps: int = param(
        0, "Hires steps", infotext="Hires steps", ge=0, le=10_000, ui=(0, 150, 1), help="0: as many as the first pass"
    )
    hr_scale: float = param(2.0, "Upscale by", infotext="Hires upscale", ge=1, le=16, ui=(1, 4, 0.05))
    hr_resize_x: int = param(
        0, "Resize width to", infotext="Hires resize-1", ge=0, le=LARGEST_SIDE, ui=(0, 2048, 8), help="0: by the scale"
    )
    hr_resize_y: int = param(
        0, "Resize height to", infotext="Hires resize-2", ge=0, le=LARGEST_SIDE, ui=(0, 2048, 8), help="0: by the scale"
    )
    hr_checkpoint_name: str = param(
        "", "Hires checkpoint", infotext="Hires checkpoint", choices="checkpoints", help="empty: the same"
    )
    hr_sampler_name: str = param(
        "", "Hires sampling method", infotext="Hires sampler", choices="samplers", help="empty: the same"
    )
    hr_scheduler: str = param(
        "", "Hires schedule type", infotext="Hires schedule type", choices="schedules", help="empty: the same"
    )
    hr_prompt: str = param(
        "", "Hires prompt", infotext="Hires prompt", max_length=LONGEST_PROMPT, help="empty: the same"
    )
    hr_negative_prompt: str = param(
        "",
        "Hires negative prompt",
        infotext="Hires negative prompt",
        max_length=LONGEST_PROMPT,
        help="empty: the same",
    )
    firstpass_image: str = param("", "Picture in place of the first pass", help="id of a stored input")

    @field_validator("hr_upscaler")
    @classmethod
    def _known_upscaler(cls, name: str) -> str:
        check_upscaler(name)
        return name

    @field_validator("hr_sampler_name")
    @classmethod
    def _known_hires_sampler(cls, name: str) -> str:
        if name in ("", SAME_SAMPLER):
            return ""
        find_sampler(name)
        return name

    @field_validator("hr_scheduler")
    @classmethod
    def _known_hires_schedule(cls, name: str) -> str:
        return "" if name in ("", SAME_SCHEDULE) else find_schedule(name).label

    @field_validator("hr_checkpoint_name")
    @classmethod
    def _same_checkpoint(cls, name: str) -> str:
        return "" if name in ("Use same checkpoint", "None") else name


class Starting(Group):
    """The picture that img2img starts from; inputs are named by the sha256 of their bytes."""

    init_images: tuple[str, ...] = param((), "Input pictures")
    denoising_strength: float = param(
        0.75, "Denoising strength", infotext="Denoising strength", ge=0, le=1, ui=(0, 1, 0.01)
    )
    resize_mode: int = param(0, "Resize mode", ge=0, le=len(RESIZE_MODES) - 1, names=RESIZE_MODES)
    image_cfg_scale: float | None = param(
        1.5,
        "Image CFG Scale",
        infotext="Image CFG scale",
        ge=0,
        le=1_000,
        ui=(0, 3, 0.05),
        help="for instruct-pix2pix models; empty: the prompt alone guides them",
    )
    initial_noise_multiplier: float | None = param(
        None, "Noise multiplier for img2img", ge=0, le=100, help="empty: as the settings say"
    )


class Inpainting(Group):
    """Which part of the picture is made anew; without a mask, all of it."""

    mask: str = param("", "Mask", help="id of a stored input: white is made anew")
    mask_blur: int = param(4, "Mask blur", infotext="Mask blur", ge=0, le=1_000, ui=(0, 64, 1))
    mask_blur_x: int | None = param(None, "Mask blur across", ge=0, le=1_000, help="empty: as the mask blur")
    mask_blur_y: int | None = param(None, "Mask blur upright", ge=0, le=1_000, help="empty: as the mask blur")
    mask_round: bool = param(True, "Round the mask", help="each latent is inside or outside; off: soft edges")
    inpainting_mask_invert: int = param(0, "Mask mode", infotext="Mask mode", ge=0, le=1, names=MASK_MODES)
    inpainting_fill: int = param(1, "Masked content", infotext="Masked content", ge=0, le=len(FILLS) - 1, names=FILLS)
    inpaint_full_res: int = param(0, "Inpaint area", infotext="Inpaint area", ge=0, le=1, names=AREAS)
    inpaint_full_res_padding: int = param(
        32,
        "Only masked padding, pixels",
        infotext="Masked area padding",
        ge=0,
        le=LARGEST_SIDE,
        ui=(0, 256, 4),
    )


class Saving(Group):
    save_images: bool = param(True, "Save pictures", help="off: kept with the job for a day, not in the outputs folder")
    override_settings: Mapping[str, Any] = param({}, "Settings for this job alone")
