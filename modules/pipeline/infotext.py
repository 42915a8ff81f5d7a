"""The text that goes into a picture, in A1111's keys (I010-I013)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from modules import __version__
from modules.catalogue import Entry
from modules.params import Infotext, SamplerInfo, find_sampler, find_schedule, format_infotext, listed_name
from modules.sampling import SamplerOptions

from .choices import AUTOMATIC
from .plans import Batch, Plan, Stage

PROGRAM = f"Tagbrush {__version__}"
REFINER = "refiner"
Fields = Mapping[str, object]
"""A1111's keys and what they say; None and False are left out."""


@dataclass(frozen=True, eq=False)
class Made:
    """What is known of the pictures of a batch only once they are made."""

    networks: Iterable[tuple[str, Entry]]
    """The networks and embeddings that are in them, by the name the prompt has for each."""
    hashes: Mapping[Path, Future[str]]
    effective: frozenset[str] = frozenset()
    """What of the options of guidance, and whether the refiner, has changed them."""
    variant: str = "base"
    """Of the model that made them."""
    start: Fields = field(default_factory=dict)
    """What is to be said of the pictures that they start from."""

    def hash(self, entry: Entry | None) -> str | None:
        """The digits of a file's hash, waited for; None where it could not be read meanwhile."""
        if entry is None:
            return None
        future = self.hashes[entry.path]
        return None if future.exception() else future.result()

    def title(self, entry: Entry) -> str:
        """A checkpoint's name and hash: `model [0123456789]`."""
        digits = self.hash(entry)
        return f"{entry.name} [{digits}]" if digits else entry.name

    def hash_list(self, kind: str) -> str | None:
        """The names and hashes of what there is of a kind."""
        found = {name: self.hash(entry) for name, entry in self.networks if entry.kind == kind}
        return ", ".join(f"{listed_name(name)}: {digits}" for name, digits in found.items() if digits) or None


def describe_picture(plan: Plan, batch: Batch, position: int, made: Made) -> str:
    """The infotext of the picture at `position` of a batch.

    What has its default or changed nothing is left out, as in A1111; so is a hash that cannot be computed.
    """
    prompt, negative = batch.first.prompts[position].text, batch.first.negatives[position].text
    fields = {
        **_basics(plan, batch, position, made),
        **made.start,
        **_hires(plan, batch, position, made),
        "Lora hashes": made.hash_list("lora"),
        "TI hashes": made.hash_list("embedding"),
        "Emphasis": plan.prompting.emphasis if _is_emphasised(plan, prompt, negative) else None,
        "Old prompt editing timelines": plan.prompting.old_schedules,
        "Noise Schedule": plan.noise_schedule if plan.noise_schedule != "Default" else None,
        "Downcast alphas_cumprod": plan.downcast_alphas,
        **_sampling(plan),
        **_guidance(plan, made.effective),
        **_refiner(plan, made),
        "Version": PROGRAM,
    }
    written = {key: str(value) for key, value in fields.items() if value is not None and value is not False}
    return format_infotext(Infotext(prompt, negative, written))


def _basics(plan: Plan, batch: Batch, position: int, made: Made) -> Fields:
    """What every picture's text begins with."""
    stage, hires = plan.first, plan.hires
    variation = plan.variation
    return {
        "Steps": stage.steps,
        "Sampler": stage.sampler,
        "Schedule type": stage.schedule,
        "CFG scale": plan.cfg_scale,
        "Image CFG scale": plan.start.image_cfg_scale if plan.start and made.variant == "pix2pix" else None,
        "Seed": batch.seeds[position],
        "Size": f"{stage.width}x{stage.height}",
        "Model hash": made.hash(stage.checkpoint),
        "Model": stage.checkpoint.name,
        "VAE hash": made.hash(stage.vae),
        "VAE": stage.vae.path.name if stage.vae else None,
        "Variation seed": batch.subseeds[position] if variation.strength else None,
        "Variation seed strength": variation.strength or None,
        "Seed resize from": "{}x{}".format(*variation.resize_from) if variation.resize_from else None,
        "Denoising strength": hires.stage.strength if hires else stage.strength,
        "Conditional mask weight": plan.mask_weight if made.variant == "inpaint" else None,
        "Clip skip": plan.prompting.clip_skip if plan.prompting.clip_skip > 1 else None,
        "ENSD": (plan.eta_noise_seed_delta or None) if _sampler(stage).ensd and stage.options.eta else None,
        "Token merging ratio": stage.token_merging or None,
        "Token merging ratio hr": (hires.stage.token_merging or None) if hires else None,
        "RNG": plan.randn_source,
        "Tiling": plan.tiling,
        "Extra noise": (plan.extra_noise or None) if plan.start or hires else None,
    }


def _hires(plan: Plan, batch: Batch, position: int, made: Made) -> Fields:
    """What is said of the second stage; what it has from the first is left out."""
    hires, wording, first = plan.hires, batch.hires, plan.first
    if hires is None or wording is None:
        return {}
    stage, asked = hires.stage, hires.asked
    is_resized = bool(asked.resize_x or asked.resize_y)
    is_same = stage.schedule == first.schedule == _walked(first)
    return {
        "Hires checkpoint": made.title(stage.checkpoint) if stage.checkpoint != first.checkpoint else None,
        "Hires sampler": stage.sampler if stage.sampler != first.sampler else None,
        "Hires schedule type": None if is_same or _sampler(stage).timesteps else stage.schedule,
        "Hires prompt": _own(wording.prompts[position].text, batch.first.prompts[position].text),
        "Hires negative prompt": _own(wording.negatives[position].text, batch.first.negatives[position].text),
        "Hires upscale": None if is_resized else asked.scale,
        "Hires resize": f"{asked.resize_x}x{asked.resize_y}" if is_resized else None,
        "Hires steps": asked.steps or None,
        "Hires upscaler": hires.upscaler,
    }


def _sampling(plan: Plan) -> Fields:
    """What is said of the samplers' numbers, of each that the sampler of a stage reads (U010)."""
    fields: dict[str, object] = {}
    for stage in (plan.first, plan.hires.stage if plan.hires else None):
        if stage is not None:
            fields |= {key: value for key, value in _numbers(stage).items() if value is not None}
    return fields


def _numbers(stage: Stage) -> Fields:
    options, sampler, schedule = stage.options, _sampler(stage), find_schedule(_walked(stage))
    has_schedule = schedule.label != AUTOMATIC
    is_beta = schedule.label == "Beta"
    has_own_rho = schedule.rho is not None and options.rho not in (0, schedule.rho)
    is_sgm = options.sgm_noise_multiplier and not sampler.timesteps and stage.strength is None
    return {
        "Discard penultimate sigma": (options.discard_penultimate and not sampler.discards_penultimate) or None,
        "Schedule min sigma": (options.sigma_min or None) if has_schedule else None,
        "Schedule max sigma": (options.sigma_max or None) if has_schedule else None,
        "Schedule rho": options.rho if has_own_rho else None,
        "Beta schedule alpha": options.beta_alpha if is_beta else None,
        "Beta schedule beta": options.beta_beta if is_beta else None,
        "SGM noise multiplier": is_sgm or None,
        "Eta DDIM" if sampler.timesteps else "Eta": _changed(options.eta, sampler.eta),
        "Sigma churn": (options.s_churn or None) if sampler.churns else None,
        "Sigma tmin": (options.s_tmin or None) if sampler.churns else None,
        "Sigma tmax": (options.s_tmax or None) if sampler.churns else None,
        "Sigma noise": _changed(options.s_noise, 1.0) if sampler.churns or sampler.scales_noise else None,
        **(_unipc(options) if sampler.name == "UniPC" else {}),
    }


def _unipc(options: SamplerOptions) -> Fields:
    """What is said of UniPC's own options. A1111 reads these keys and forgets to write them."""
    usual = SamplerOptions()
    return {
        "UniPC variant": _changed(options.uni_pc_variant, usual.uni_pc_variant),
        "UniPC skip type": _changed(options.uni_pc_skip_type, usual.uni_pc_skip_type),
        "UniPC order": _changed(options.uni_pc_order, usual.uni_pc_order),
        "UniPC lower order final": _changed(str(options.uni_pc_lower_order_final), str(usual.uni_pc_lower_order_final)),
    }


def _guidance(plan: Plan, effective: frozenset[str]) -> Fields:
    options = plan.guidance
    in_all = "s_min_uncond_all" in effective
    return {
        "Pad conds": "pad_cond_uncond" in effective,
        "Pad conds v0": "pad_cond_uncond_v0" in effective,
        "NGMS": options.s_min_uncond if in_all or "s_min_uncond" in effective else None,
        "NGMS all steps": in_all,
        "Skip Early CFG": options.skip_early_cond if "skip_early_cond" in effective else None,
    }


def _refiner(plan: Plan, made: Made) -> Fields:
    """What is said of the refiner, where it took over."""
    first, second = plan.first.refiner, plan.hires.stage.refiner if plan.hires else None
    refiner = first or second
    if refiner is None or REFINER not in made.effective:
        return {}
    both = "both passes" if second else "first pass"
    return {
        "Hires refiner": both if first and plan.hires else None,
        "Refiner switch by sampling steps": refiner.by_steps,
        "Refiner": made.title(refiner.checkpoint),
        "Refiner switch at": refiner.switch_at,
    }


def _sampler(stage: Stage) -> SamplerInfo:
    return find_sampler(stage.sampler)[0]


def _walked(stage: Stage) -> str:
    """The schedule that the sampler walks: none of these for samplers of timesteps, whatever is asked for."""
    return AUTOMATIC if _sampler(stage).timesteps else stage.schedule


def _changed(value: float | str | None, usual: float | str | None) -> float | str | None:
    """The value, where the sampler reads it and it is not the usual one."""
    return None if usual is None or value is None or value == usual else value


def _own(text: str, first: str) -> str | None:
    return text if text != first else None


def _is_emphasised(plan: Plan, *prompts: str) -> bool:
    """Whether the mode of emphasis is not the usual one and says something about these prompts (P021)."""
    return plan.prompting.emphasis != "Original" and any(bracket in prompt for prompt in prompts for bracket in "([")
