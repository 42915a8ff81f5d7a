"""A1111's sections of the options, by which an owner freezes many at once (`--freeze-settings-in-sections`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from .errors import BadRequest, UnknownName
from .setting_groups import (
    ApiSettings,
    GuidanceSettings,
    HiresSettings,
    Img2ImgSettings,
    LimitSettings,
    ModelSettings,
    PageSettings,
    PromptSettings,
    SamplingSettings,
    SavingSettings,
    SdxlSettings,
)
from .settings import Settings

LIMITS = tuple(LimitSettings.model_fields)

_ELSEWHERE: Mapping[str, str] = {
    "sd_vae": "vae",
    "sd_vae_overrides_per_model_preferences": "vae",
    "disable_weights_auto_swap": "infotext",
    "infotext_styles": "infotext",
    "sd_lora": "extra_networks",
    "sd_hypernetwork": "extra_networks",
    "extra_networks_default_multiplier": "extra_networks",
    "use_old_emphasis_implementation": "compatibility",
    "use_old_scheduling": "compatibility",
    "auto_backcompat": "compatibility",
    "use_old_karras_scheduler_sigmas": "compatibility",
    "use_downcasted_alpha_bar": "compatibility",
    "hires_fix_use_firstpass_conds": "compatibility",
    "refiner_switch_by_sample_steps": "compatibility",
    "hires_fix_refiner_pass": "sd",
    "randn_source": "sd",
    "enable_quantization": "sd",
    "skip_early_cond": "sampler-params",
    "outdir_txt2img_samples": "saving-paths",
    "outdir_img2img_samples": "saving-paths",
    "send_seed": "ui_alternatives",
}
"""Options that A1111 has in another section than the one most of their group are in."""

_OF_GROUP = {
    ModelSettings: "sd",
    PromptSettings: "sd",
    GuidanceSettings: "optimizations",
    SamplingSettings: "sampler-params",
    Img2ImgSettings: "img2img",
    HiresSettings: "optimizations",
    SdxlSettings: "sdxl",
    SavingSettings: "saving-images",
    PageSettings: "ui",
    LimitSettings: "limits",
    ApiSettings: "API",
}


def section_of(option: str) -> str:
    """The section of an option, by A1111's name for it; those of limits are ours."""
    if option in _ELSEWHERE:
        return _ELSEWHERE[option]
    return next(section for group, section in _OF_GROUP.items() if option in group.model_fields)


@dataclass(frozen=True)
class Frozen:
    """Options that nobody changes while the server runs, each with the reason."""

    reasons: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *,
        everything: bool = False,
        sections: Iterable[str] = (),
        options: Iterable[str] = (),
        folders: bool = False,
        limits: bool = False,
    ) -> Self:
        """What the command line freezes: all, A1111's sections, single options, output folders, limits.

        Raises UnknownName for a section or an option that does not exist.
        """
        reasons: dict[str, str] = {}
        known = sorted({section_of(option) for option in Settings.model_fields})
        if limits:
            reasons |= dict.fromkeys(LIMITS, "it limits what others may ask of this machine")
        if folders:
            names = [name for name in Settings.model_fields if name.startswith("outdir_")]
            reasons |= dict.fromkeys(names, "--hide-ui-dir-config")
        for option in options:
            if option not in Settings.model_fields:
                raise UnknownName("--freeze-specific-settings: option", option, Settings.model_fields)
            reasons[option] = "--freeze-specific-settings"
        for section in sections:
            if section not in known:
                raise UnknownName("--freeze-settings-in-sections: section", section, known)
            names = [name for name in Settings.model_fields if section_of(name) == section]
            reasons |= dict.fromkeys(names, "--freeze-settings-in-sections")
        if everything:
            reasons = dict.fromkeys(Settings.model_fields, "--freeze-settings")
        return cls(reasons)

    def check(self, before: Settings, after: Settings) -> None:
        """Nothing, if no frozen option differs. Raises BadRequest, which names the option and why it is frozen."""
        for name, reason in self.reasons.items():
            _refuse_change(name, before, after, f"it is frozen: {reason}. It stays as the server's owner set it")


def check_job_options(before: Settings, after: Settings) -> None:
    """Nothing, if a job's own options leave the server's limits alone. Raises BadRequest."""
    for name in LIMITS:
        _refuse_change(name, before, after, "a limit holds for every job. Leave it out of override_settings")


def _refuse_change(name: str, before: Settings, after: Settings, why: str) -> None:
    old: Any = getattr(before, name)
    new: Any = getattr(after, name)
    if old != new:
        raise BadRequest(f"{name} is {old!r} and cannot become {new!r}: {why}.")
