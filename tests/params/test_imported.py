"""An A1111 user's config.json and ui-config.json."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.params import Settings, Txt2ImgRequest, make_request, read_config, read_ui_config


def written(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_known_options_are_the_defaults_and_unknown_ones_stay_in_the_file(tmp_path: Path) -> None:
    # D063
    path = written(
        tmp_path / "config.json",
        {
            "CLIP_stop_at_last_layers": 2,
            "eta_noise_seed_delta": 31337,
            "randn_source": "CPU",
            "outdir_txt2img_samples": "/mnt/pictures",
            "sd_model_checkpoint": "dream.safetensors [0123456789]",
            "an_extensions_own": {"deep": [1]},
        },
    )
    before = path.read_bytes()
    found = read_config(path)
    assert not found.notices
    assert found.settings == Settings(
        CLIP_stop_at_last_layers=2,
        eta_noise_seed_delta=31337,
        randn_source="CPU",
        outdir_txt2img_samples="/mnt/pictures",
        sd_model_checkpoint="dream.safetensors [0123456789]",
    )
    assert path.read_bytes() == before


def test_without_a_file_the_options_are_as_ever(tmp_path: Path) -> None:
    assert read_config(tmp_path / "config.json") == read_config(tmp_path / "other.json")
    assert read_config(tmp_path / "config.json").settings == Settings()


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", "\x00", '{"a":' * 50_000, '{"s_noise": NaN}', "{" + " " * 2**24 + "}"]
)
def test_a_damaged_file_is_told_and_left_alone(text: str, tmp_path: Path) -> None:
    # D063
    path = written(tmp_path / "config.json", text)
    found = read_config(path)
    assert (found.settings, len(found.notices)) == (Settings(), 1)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("name", "value"),
    [("CLIP_stop_at_last_layers", "many"), ("randn_source", "dice"), ("emphasis", 7), ("jpeg_quality", 1000)],
)
def test_a_value_that_cannot_be_is_told_and_the_others_count(name: str, value: Any, tmp_path: Path) -> None:
    # D063
    found = read_config(written(tmp_path / "config.json", {name: value, "eta_noise_seed_delta": 5}))
    assert len(found.notices) == 1
    assert found.settings == Settings(eta_noise_seed_delta=5)


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({"sd_vae_as_default": True}, "sd_vae_overrides_per_model_preferences", False),
        ({"sd_vae_as_default": False}, "sd_vae_overrides_per_model_preferences", True),
        ({"enable_emphasis": False}, "emphasis", "None"),
        ({"enable_emphasis": True}, "emphasis", "Original"),
        ({"samples_format": "jpeg"}, "samples_format", "jpg"),
        ({"randn_source": "GPU"}, "randn_source", "NV"),
        ({"sd_vae": None}, "sd_vae", "Automatic"),
        ({"sd_vae": "auto"}, "sd_vae", "Automatic"),
    ],
)
def test_options_of_old_versions_mean_what_they_meant(options: Any, name: str, value: Any, tmp_path: Path) -> None:
    # D063
    found = read_config(written(tmp_path / "config.json", options))
    assert (getattr(found.settings, name), found.notices) == (value, ())


def test_controls_begin_with_what_the_pages_file_says(tmp_path: Path) -> None:
    # D064
    path = written(
        tmp_path / "ui-config.json",
        {
            "txt2img/Sampling steps/value": 33,
            "txt2img/Sampling steps/maximum": 200,
            "txt2img/Sampling method/value": "Euler a",
            "txt2img/Width/value": 640,
            "txt2img/Sampling method/visible": True,
            "txt2img/Height/value": 7,
            "txt2img/Schedule type/value": "zigzag",
            "img2img/Mask mode/value": "Inpaint not masked",
            "img2img/CFG Scale/value": 5.5,
            "customscript/x.py/txt2img/Width/value": 1,
        },
    )
    found = read_ui_config(path)
    assert dict(found.txt2img) == {"steps": 33, "sampler_name": "Euler a", "width": 640}
    assert dict(found.img2img) == {"inpainting_mask_invert": 1, "cfg_scale": 5.5}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.sampled_from(list(Settings.model_fields)), JSON, max_size=4),
    st.dictionaries(
        st.sampled_from([f"txt2img/{field.title}/value" for field in Txt2ImgRequest.model_fields.values()]), JSON
    ),
    st.binary(max_size=50),
)
def test_whatever_the_files_hold_the_program_starts(config: Any, page: Any, rubbish: bytes) -> None:
    # D063, D064
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        for content in (json.dumps(config).encode(), rubbish):
            path.write_bytes(content)
            read_config(path)
        path.write_bytes(json.dumps(page).encode())
        make_request({**read_ui_config(path).txt2img, "task": "txt2img"})
