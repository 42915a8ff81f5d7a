"""A1111's Extras: pictures enlarged without a job."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from modules.images import encode

SIDES = Image.linear_gradient("L").convert("RGB").resize((32, 24))
FILE = encode(SIDES, "a lemon\nSteps: 3, Sampler: Euler, Seed: 1")[0]
PICTURE = base64.b64encode(FILE).decode()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def enlarged(client: TestClient, **payload: Any) -> Image.Image:
    answer = client.post("/sdapi/v1/extra-single-image", json={"image": PICTURE, **payload})
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"image", "html_info"}
    return opened(answer.json()["image"])


def test_a_picture_is_enlarged_by_lanczos_and_keeps_its_text(reader: TestClient) -> None:  # A010, A013
    result = enlarged(
        reader, upscaler_1="Lanczos", upscaler_2="None", upscaling_resize=2, upscaling_resize_w=128,
        upscaling_resize_h=128, upscaling_crop=True, gfpgan_visibility=0, codeformer_visibility=0, resize_mode=0,
        show_extras_results=True, extras_upscaler_2_visibility=0, codeformer_weight=0,
    )  # fmt: skip
    assert result.size == (64, 48)
    assert result.tobytes() == SIDES.resize((64, 48), Image.Resampling.LANCZOS).tobytes()
    assert result.info["parameters"].startswith("a lemon\nSteps: 3")
    assert result.info["postprocessing"] == "Postprocess upscale by: 2, Postprocess upscaler: Lanczos"


def test_with_no_upscaler_a_picture_stays_as_it_is(reader: TestClient) -> None:  # A013
    result = enlarged(reader)
    assert result.tobytes() == SIDES.tobytes()
    assert "postprocessing" not in result.info


def test_a_picture_is_scaled_to_a_size_and_cut(reader: TestClient) -> None:  # A010
    size = {"resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64, "upscaler_1": "Nearest"}
    assert enlarged(reader, **size).size == (64, 64)
    assert enlarged(reader, **size, upscaling_crop=False).size == (85, 64)


def test_several_pictures_come_back_in_their_order(reader: TestClient) -> None:  # A010
    wide = base64.b64encode(encode(Image.new("RGB", (48, 16), "teal"), "")[0]).decode()
    pictures = [{"data": PICTURE, "name": "a.png"}, {"data": f"data:image/png;base64,{wide}", "name": "<b>.png"}]
    payload = {"imageList": pictures, "upscaler_1": "Lanczos", "upscaling_resize": 4}
    answer = reader.post("/sdapi/v1/extra-batch-images", json=payload).json()
    assert [opened(image).size for image in answer["images"]] == [(128, 96), (192, 64)]
    assert "&lt;b&gt;.png" in answer["html_info"]
    assert "<b>.png" not in answer["html_info"]


def test_pictures_come_back_in_the_format_of_the_options(client: TestClient) -> None:  # A005
    client.post("/sdapi/v1/options", json={"samples_format": "webp"})
    assert enlarged(client, upscaler_1="Lanczos").format == "WEBP"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"upscaler_1": "ESRGAN_4x"}, "come in a later one"),
        ({"gfpgan_visibility": 1}, "Faces are not restored"),
        ({"upscaling_resize": 1000}, "upscaling_resize"),
        ({"upscaler_1": "Lanczos", "upscaling_resize": 60, "image": PICTURE, "resize_mode": 9}, "resize_mode"),
        ({"image": "aGVsbG8="}, "no picture"),
        ({"image": None}, "image"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(  # A006
    reader: TestClient, payload: dict[str, Any], words: str
) -> None:
    answer = reader.post("/sdapi/v1/extra-single-image", json={"image": PICTURE, **payload})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_a_picture_beyond_the_limits_is_refused(client: TestClient) -> None:
    client.post("/sdapi/v1/options", json={"max_megapixels": 0.01})
    answer = client.post(
        "/sdapi/v1/extra-single-image", json={"image": PICTURE, "upscaler_1": "Lanczos", "upscaling_resize": 8}
    )
    assert (answer.status_code, answer.json()["error"]) == (422, "TooMuch")
