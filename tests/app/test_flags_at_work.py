"""One server with A1111's flags, and what each of them changes (F001)."""

from __future__ import annotations

import base64
import http.client
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.serving import GOLDEN, Served, serve

FLAGS = (
    *("--device", "cpu", "--no-half", "--theme", "dark", "--hide-ui-dir-config", "--freeze-specific-settings"),
    *("emphasis,samples_save", "--freeze-settings-in-sections", "saving-images", "--no-hashing", "--ui-debug-mode"),
    *("--disable-safe-unpickle", "--xformers", "--offline"),
)
SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data, elsewhere = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("elsewhere")
    shutil.copy(GOLDEN / "model" / "tiny_sd1.safetensors", elsewhere / "mine.safetensors")
    (elsewhere / "options.json").write_text(json.dumps({"CLIP_stop_at_last_layers": 2, "other program's": [1]}))
    (elsewhere / "controls.json").write_text(json.dumps({"txt2img/Sampling steps/value": 33}))
    files = (
        *("--ckpt", str(elsewhere / "mine.safetensors"), "--ui-settings-file", str(elsewhere / "options.json")),
        *("--ui-config-file", str(elsewhere / "controls.json")),
    )
    with serve(data, *FLAGS, *files) as served:
        yield served


def refused(served: Served, path: str, body: Any) -> str:
    with pytest.raises(HTTPError) as caught:
        served.post(path, body)
    assert caught.value.code == 422
    return json.load(caught.value)["detail"]


def opened(served: Served, path: str) -> tuple[int, str | None]:
    """The status, and where it leads."""
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Location"]
    finally:
        connection.close()


def test_the_page_begins_with_the_look_that_the_owner_has_in_mind(served: Served) -> None:
    # F001: --theme
    for path, leads_to in (("/", "?__theme=dark"), ("/?view=api", "?view=api&__theme=dark")):
        assert opened(served, path) == (307, leads_to)
    for path in ("/?__theme=light", "/?__theme=dark", "/tagbrush/v1/status"):
        assert opened(served, path) == (200, None)


def test_options_and_controls_begin_with_the_files_that_were_named(served: Served) -> None:
    # F001: --ui-settings-file, --ui-config-file
    assert served.get("/sdapi/v1/options")["CLIP_stop_at_last_layers"] == 2
    assert served.get("/tagbrush/v1/parameters")["defaults"]["txt2img"] == {"steps": 33}


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"emphasis": "None"}, "--freeze-specific-settings"),
        ({"samples_format": "jpg"}, "--freeze-settings-in-sections"),
        ({"outdir_txt2img_samples": "outputs/mine"}, "--hide-ui-dir-config"),
    ],
)
@pytest.mark.parametrize("route", ["/sdapi/v1/options", "/tagbrush/v1/options", "/sdapi/v1/txt2img"])
def test_what_is_frozen_is_refused_in_words_wherever_it_is_asked_for(
    served: Served, change: dict[str, str], flag: str, route: str
) -> None:
    # F001: --freeze-settings and its like, --hide-ui-dir-config
    body = {**SMALL, "override_settings": change} if route.endswith("txt2img") else change
    said = refused(served, route, body)
    assert next(iter(change)) in said
    assert "it is frozen" in said
    assert flag in said


def test_a_named_checkpoint_is_in_use_and_nothing_is_hashed(served: Served) -> None:
    # F001: --ckpt, --no-hashing
    assert served.get("/sdapi/v1/options")["sd_model_checkpoint"] == "mine.safetensors"
    answer = served.post("/sdapi/v1/txt2img", SMALL)
    text = Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).info["parameters"]
    assert "Model: mine" in text
    assert "Model hash" not in text
    assert all(model["sha256"] is None for model in served.get("/sdapi/v1/sd-models"))


def test_each_flag_without_an_effect_is_told_once_and_an_unsafe_one_as_a_warning(served: Served) -> None:
    # F001: --xformers, --disable-safe-unpickle, --freeze-specific-settings
    log = (served.data / "server.log").read_text(encoding="utf-8")
    assert log.count("--xformers has no effect in Tagbrush and is ignored: attention is always PyTorch's own") == 1
    assert "WARNING: --disable-safe-unpickle has no effect in Tagbrush" in log
    assert 'there is no option "samples_save" here' in log
    assert "Traceback" not in log


def test_flags_are_told_to_clients_as_a1111_tells_them(served: Served) -> None:
    flags = served.get("/sdapi/v1/cmd-flags")
    assert flags["no_half"] is True
    assert flags["freeze_specific_settings"] == ["emphasis,samples_save"]
    assert Path(flags["ckpt"]).name == "mine.safetensors"
