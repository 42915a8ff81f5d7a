"""Requests that make no sense are answered in words with a 4xx, and the next one is served as if nothing had been."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import SMALL, Program

ROUTES = ("/tagbrush/v1/jobs", "/sdapi/v1/txt2img")

NONSENSE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"width": 0}, "width is 0"),
    ({"width": 100_000}, "less than or equal to 8192"),
    ({"height": -8}, "height is -8"),
    ({"width": "wide"}, "valid integer"),
    ({"steps": 0}, "steps is 0"),
    ({"steps": 10**9}, "steps is 1000000000"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"batch_size": 10**6}, "batch_size is 1000000"),
    ({"n_iter": -1}, "n_iter is -1"),
    ({"seed": 2**70}, "seed is"),
    ({"seed": -2}, "seed is -2"),
    ({"cfg_scale": float("nan")}, "cfg_scale is nan"),
    ({"cfg_scale": float("inf")}, "cfg_scale is inf"),
    ({"cfg_scale": -1}, "cfg_scale is -1"),
    ({"prompt": ["a cat"]}, "valid string"),
    ({"prompt": "x" * 1_000_001}, "at most 1000000 characters"),
    ({"prompt": "\ud800"}, "valid string"),
    ({"styles": "x"}, "styles is 'x'"),
    ({"sampler_name": "Eular a"}, 'Did you mean "Euler a"?'),
    ({"sampler_name": "DPM++ 9M Karras"}, "is unknown"),
    ({"scheduler": "Karas"}, 'Did you mean "Karras"?'),
    ({"override_settings": {"sd_model_checkpoint": "nothing"}}, 'Checkpoint "nothing" is unknown'),
    ({"override_settings": {"sd_vae": "nothing"}}, 'VAE "nothing" is unknown'),
    ({"override_settings": {"CLIP_stop_at_last_layers": 13}}, "less than or equal to 12"),
    ({"override_settings": {"samples_format": "exe"}}, "Choose one of: png, jpg, webp"),
    ({"override_settings": ["x"]}, "override_settings is"),
)


@pytest.mark.parametrize(("fields", "words"), NONSENSE, ids=[str(fields)[:50] for fields, _ in NONSENSE])
@pytest.mark.parametrize("route", ROUTES)
def test_nonsense_is_refused_in_words(shared: Program, route: str, fields: dict[str, Any], words: str) -> None:
    task = {"task": "txt2img"} if "tagbrush" in route else {}
    body = json.dumps({"prompt": "a cat", **SMALL, **task, **fields})  # httpx alone would not send a NaN
    answer = shared.http.post(route, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text[:500]
    assert words in answer.json()["detail"]
    assert len(answer.json()["detail"]) < 1000
    assert answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"prompt"', b"\xff\xfe", b"[" * 100_000 + b"]" * 100_000])
@pytest.mark.parametrize("route", [*ROUTES, "/sdapi/v1/img2img", "/sdapi/v1/options", "/sdapi/v1/png-info"])
def test_a_body_that_is_no_request_is_refused(shared: Program, route: str, body: bytes) -> None:
    answer = shared.http.post(route, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text[:500]
    assert answer.json()["error"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("fields", [{"alwayson_scripts": nested(900)}, {"unheard_of": nested(900)}])
def test_a_payload_nested_beyond_reason_is_no_fault_of_the_server(shared: Program, fields: dict[str, Any]) -> None:
    answer = shared.post("/sdapi/v1/txt2img", prompt="a cat", **SMALL, **fields)
    assert answer.status_code < 500, answer.text[:500]


@pytest.mark.parametrize("prompt", ["", " ", ",", "()", "BREAK", "AND", "[a:b:c:d]", "((((((", "<>"])
def test_an_empty_or_odd_prompt_makes_a_picture(shared: Program, prompt: str) -> None:
    job = shared.make(prompt)
    assert job["notices"] == []
    assert job["pictures"][0]["infotext"].startswith(prompt.strip())


def test_a_prompt_of_ten_thousand_words(shared: Program) -> None:
    job = shared.make("word " * 10_000, negative_prompt="bad, " * 10_000, steps=1)
    assert job["pictures"][0]["infotext"].startswith("word " * 9_999)


@pytest.fixture(scope="module")
def plain(shared: Program) -> np.ndarray:
    """A cat and no dog, without any tag."""
    return shared.pixels(shared.make("a cat", negative_prompt="a dog"))[0]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("<lora:lin:abc>", 'te is "abc". Give a number'),
        ("<lora:lin:1:1e999>", 'unet is "1e999". Give a number'),
        ("<lora:lin:nan>", 'te is "nan"'),
        ("<lora:lin:1:1:0>", 'dyn is "0"'),
        ("<lora::1>", "names no network"),
        ("<hypernet:x>", 'Hypernetwork "x" is unknown'),
        ("<hypernet:h_relu4:strong>", 'multiplier is "strong"'),
        ("<style:x:1>", 'Tag kind "style" is unknown'),
        ("<lora:../../../etc/passwd:1>", "is unknown"),
    ],
)
def test_a_malformed_tag_has_no_effect_in_either_box_and_says_why(
    shared: Program, plain: np.ndarray, prompt: str, words: str
) -> None:
    job = shared.make(f"a cat {prompt}", negative_prompt=f"a dog {prompt}")
    assert len(job["notices"]) == 1
    assert words in job["notices"][0]
    assert (shared.pixels(job)[0] == plain).all()


@pytest.mark.parametrize(
    "prompt", ["a <lora:lin", "a <lora:>", "3 < 4 and 5 > 4", "<lora>", "a\x00b", "\u202e🍎 ф 猫\r\nx"]
)
def test_text_that_is_no_tag_stays_text(shared: Program, prompt: str) -> None:
    job = shared.make(prompt)
    assert job["notices"] == []
    assert job["request"]["prompt"] == prompt


def png(size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 90).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


NO_PICTURES = {
    "nothing": "",
    "no base64": "!!!",
    "half a character": "A",
    "text": base64_of(b"hello"),
    "svg": base64_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "an empty data URI": "data:image/png;base64,",
    "an address": "http://127.0.0.1/picture.png",
    "a file": "file:///etc/passwd",
    "a cut picture": base64_of(png((256, 256))[:20_000]),
    "a bomb": base64_of(bomb()),
    "twenty megabytes": "A" * 20_000_000,
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_an_input_that_is_no_picture_is_refused(shared: Program, name: str) -> None:
    answer = shared.post("/sdapi/v1/img2img", prompt="a cat", init_images=[NO_PICTURES[name]], **SMALL)
    assert answer.status_code == 422, answer.text[:500]
    assert answer.json()["error"] == ("NotFetched" if name == "an address" else "BadPicture")


@pytest.mark.parametrize("data", [b"", b"hello", bomb(), png((256, 256))[:20_000]])
def test_an_upload_that_is_no_picture_is_refused(shared: Program, data: bytes) -> None:
    answer = shared.http.post("/tagbrush/v1/inputs", content=data)
    assert answer.status_code == 422, answer.text[:500]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({}, 404, "Init image not found"),
        ({"init_images": []}, 404, "Init image not found"),
        ({"init_images": [None]}, 422, "valid string"),
        ({"init_images": [base64_of(png())] * 2}, 422, "Set the batch size to 2"),
        ({"init_images": [base64_of(png())], "denoising_strength": 2}, 422, "denoising_strength is 2"),
        ({"init_images": [base64_of(png())], "mask": "aGVsbG8="}, 422, "no picture"),
        ({"init_images": [base64_of(png())], "script_name": "SD upscale"}, 422, "Make the overlap smaller"),
        ({"init_images": [base64_of(png())], "script_name": "nosuch"}, 422, "not installed"),
    ],
)
def test_an_img2img_that_makes_no_sense_is_refused(
    shared: Program, fields: dict[str, Any], status: int, words: str
) -> None:
    answer = shared.post("/sdapi/v1/img2img", **{"prompt": "a cat", **SMALL, **fields})
    assert answer.status_code == status, answer.text[:500]
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(("init_images", "words"), [([], "needs a picture"), (["0" * 64], "is not stored")])
def test_a_job_without_its_input_is_refused(shared: Program, init_images: list[str], words: str) -> None:
    answer = shared.post("/tagbrush/v1/jobs", task="img2img", init_images=init_images, **SMALL)
    assert answer.status_code in (404, 422), answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_any_kind_of_picture_can_be_started_from(shared: Program, mode: str) -> None:
    """A grey ramp looks the same in every mode that can hold it."""
    ramp = Image.linear_gradient("L").resize((64, 64))
    picture = Image.fromarray(np.asarray(ramp, np.uint16) * 257) if mode == "I;16" else ramp.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    stored = shared.http.post("/tagbrush/v1/inputs", content=buffer.getvalue())
    assert stored.status_code == 201, stored.text
    job = shared.make(init_images=[stored.json()["id"]], denoising_strength=0)
    plain = shared.http.post("/tagbrush/v1/inputs", content=_saved(ramp.convert("RGB"))).json()["id"]
    expected = shared.pixels(shared.make(init_images=[plain], denoising_strength=0))[0]
    if mode != "1":
        assert np.abs(shared.pixels(job)[0] - expected).mean() < 4


def _saved(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_an_unknown_job_is_told_apart_from_a_fault(shared: Program) -> None:
    for path in ("", "/events", "/pictures/0"):
        answer = shared.http.get(f"/tagbrush/v1/jobs/nothing{path}")
        assert answer.status_code == 404
        assert '"nothing"' in answer.json()["detail"]
    for path in ("interrupt", "skip"):
        assert shared.post(f"/tagbrush/v1/jobs/nothing/{path}").status_code == 404
    assert shared.http.delete("/tagbrush/v1/jobs/nothing").status_code == 404


def test_a_path_that_is_not_there_is_told_in_the_one_shape_of_errors(shared: Program) -> None:
    answer = shared.http.get("/sdapi/v1/nothing")
    assert answer.status_code == 404
    assert answer.json().keys() == {"error", "detail", "body", "errors"}


def test_after_all_that_the_program_is_as_it_was(shared: Program) -> None:
    assert shared.http.get("/tagbrush/v1/status").json()["worker"]["state"] in ("ready", "busy")
    assert "Traceback" not in (shared.data / "server.log").read_text(encoding="utf-8")
