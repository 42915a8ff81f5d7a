"""Options that are frozen, one by one or by section."""

from __future__ import annotations

import pytest

from modules.params import BadRequest, Frozen, LimitSettings, Settings, UnknownName, check_job_options, section_of

NOW = Settings()


def test_every_option_is_in_one_section() -> None:
    sections = {name: section_of(name) for name in Settings.model_fields}
    assert sections["sd_model_checkpoint"] == "sd"
    assert sections["outdir_txt2img_samples"] == "saving-paths"
    assert sections["s_churn"] == "sampler-params"
    assert {name for name, section in sections.items() if section == "limits"} == set(LimitSettings.model_fields)


def test_a_frozen_option_cannot_become_another() -> None:  # F001
    frozen = Frozen.of(options=["CLIP_stop_at_last_layers"])
    with pytest.raises(
        BadRequest, match=r"CLIP_stop_at_last_layers is 1 and cannot become 2.*freeze-specific-settings"
    ):
        frozen.check(NOW, NOW.overridden({"CLIP_stop_at_last_layers": 2}))
    frozen.check(NOW, NOW.overridden({"emphasis": "None"}))


def test_a_frozen_option_may_be_given_as_it_is() -> None:
    """Clients read all options and send them all back with one changed."""
    frozen = Frozen.of(options=["CLIP_stop_at_last_layers"])
    frozen.check(NOW, NOW.overridden({**NOW.model_dump(), "emphasis": "None"}))


def test_a_frozen_section_holds_all_of_its_options() -> None:  # F001
    frozen = Frozen.of(sections=["saving-images", "vae"])
    for name, value in {"samples_format": "jpg", "sd_vae": "other.safetensors"}.items():
        with pytest.raises(BadRequest, match=rf"{name} .*freeze-settings-in-sections"):
            frozen.check(NOW, NOW.overridden({name: value}))
    frozen.check(NOW, NOW.overridden({"sd_model_checkpoint": "other"}))


def test_all_can_be_frozen_at_once() -> None:  # F001
    assert set(Frozen.of(everything=True).reasons) == set(Settings.model_fields)


def test_hidden_folders_cannot_be_changed() -> None:  # F001, R002
    frozen = Frozen.of(folders=True)
    with pytest.raises(BadRequest, match=r"outdir_img2img_samples .*--hide-ui-dir-config"):
        frozen.check(NOW, NOW.overridden({"outdir_img2img_samples": "outputs/elsewhere"}))


def test_a_section_or_an_option_that_does_not_exist_is_not_frozen_in_silence() -> None:
    with pytest.raises(UnknownName, match="saving-images"):
        Frozen.of(sections=["saving-image"])
    with pytest.raises(UnknownName, match="s_churn"):
        Frozen.of(options=["s_chrn"])


def test_a_job_cannot_raise_the_limits_that_hold_for_it() -> None:
    with pytest.raises(BadRequest, match="max_steps is 5000 and cannot become 10000: a limit holds for every job"):
        check_job_options(NOW, NOW.overridden({"max_steps": 10_000}))
    check_job_options(NOW, NOW.overridden({"emphasis": "None", "max_steps": 5000}))
