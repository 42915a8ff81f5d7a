"""What the walk from a picture begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modules.models import Model, encode
from modules.params import Img2ImgRequest, Settings, TagbrushError
from modules.pipeline.canvas import Canvas, read_canvas
from modules.pipeline.choices import choose_start
from modules.pipeline.concat import concat_channels
from modules.pipeline.init_latents import InitLatents, init_latents
from modules.pipeline.pictures import to_pixels
from modules.sampling import ImageNoise

from .conftest import GOLDEN, golden

CASES = [case for case in golden("sampling_img.json")["cases"] if "init_latent" in case]
WHITE = Image.new("RGB", (64, 64), "white")


@pytest.fixture
def begun(model: Model) -> Callable[[dict[str, Any]], InitLatents]:
    """The beginning of a case of the reference."""

    def beginning(case: dict[str, Any]) -> InitLatents:
        args = {key: value for key, value in case["args"].items() if key in Img2ImgRequest.model_fields}
        request = Img2ImgRequest.model_validate(args | {"mask": args.get("mask", "").removeprefix("(")})
        start = choose_start(request, Settings().overridden(case["opts"]))
        size = (request.width or 0, request.height or 0)
        mask = (GOLDEN / request.mask).read_bytes() if request.mask else None
        canvases = [
            read_canvas((GOLDEN / name).read_bytes(), mask, start, *size, lambda text: None)
            for name in request.init_images
        ]
        canvases *= request.batch_size // len(canvases)
        seeds = [request.seed + index for index in range(request.batch_size)]
        noise = ImageNoise(seeds, (4, size[1] // 8, size[0] // 8), "CPU")
        with torch.inference_mode():
            return init_latents(model, canvases, start.inpaint, noise.first, width=size[0], height=size[1])

    return beginning


@pytest.mark.parametrize(
    "case", [case for case in CASES if "blank" not in str(case["args"].get("mask"))], ids=lambda case: case["name"]
)
def test_latents_and_mask_are_the_references(case: dict[str, Any], begun: Callable[..., InitLatents]) -> None:
    """U021, U022: every resize mode and each of the four contents. The reference draws from the VAE's distribution."""
    beginning = begun(case)
    with np.load(GOLDEN / "sampling_img_latents.npz") as arrays:
        np.testing.assert_allclose(beginning.latents.numpy(), arrays[case["init_latent"]], rtol=0, atol=1e-4)
        if "nmask" in case:
            assert beginning.mask is not None
            expected = np.broadcast_to(arrays[case["nmask"]], beginning.latents.shape)
            assert np.array_equal(np.broadcast_to(beginning.mask.numpy(), beginning.latents.shape), expected)
        else:
            assert beginning.mask is None


def test_a_model_that_reads_latents_alone_gets_no_other_channels(model: Model) -> None:
    assert concat_channels(model, to_pixels(WHITE), batch=1, width=64, height=64) is None


def test_an_inpainting_model_sees_what_is_not_masked(model: Model) -> None:
    inpainting = replace(model, variant="inpaint")
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    pixels = to_pixels(WHITE)
    channels = concat_channels(inpainting, pixels, mask, batch=1, width=64, height=64)
    assert channels is not None and channels.shape == (1, 5, 8, 8)
    assert channels[0, 0].tolist() == [[0.0] * 4 + [1.0] * 4] * 8
    hidden = pixels.clone()
    hidden[..., 32:] = 0.5
    torch.testing.assert_close(channels[:, 1:], encode(model, hidden), rtol=0, atol=1e-5)


def test_the_conditioning_mask_weight_shows_the_rest_by_degrees(model: Model) -> None:
    """U026."""
    inpainting = replace(model, variant="inpaint")
    seen = [
        concat_channels(inpainting, to_pixels(WHITE), batch=1, width=64, height=64, mask_weight=weight)
        for weight in (0.0, 0.5, 1.0)
    ]
    expected = [encode(model, torch.full((1, 3, 64, 64), grey)) for grey in (1.0, 0.75, 0.5)]
    for channels, latents in zip(seen, expected, strict=True):
        assert channels is not None and channels[:, 0].eq(1).all()
        torch.testing.assert_close(channels[:, 1:], latents, rtol=0, atol=1e-5)


def test_an_inpainting_model_without_a_picture_sees_grey_alone(model: Model) -> None:
    inpainting = replace(model, variant="inpaint")
    without = concat_channels(inpainting, None, batch=2, width=64, height=64, mask_weight=0.3)
    hidden = concat_channels(inpainting, to_pixels(WHITE), batch=1, width=64, height=64)
    assert without is not None and hidden is not None and len(without) == 2
    torch.testing.assert_close(without[:1], hidden, rtol=0, atol=1e-5)


def test_an_instruct_pix2pix_model_sees_the_vaes_own_latents_and_needs_a_picture(model: Model) -> None:
    editing = replace(model, variant="pix2pix")
    channels = concat_channels(editing, to_pixels(WHITE), batch=1, width=64, height=64)
    torch.testing.assert_close(channels, encode(model, to_pixels(WHITE)) / model.scale_factor)
    with pytest.raises(TagbrushError, match="img2img"):
        concat_channels(editing, None, batch=1, width=64, height=64)


def test_where_one_picture_of_a_batch_has_no_mask_all_of_it_is_made_anew(model: Model) -> None:
    inpaint = choose_start(Img2ImgRequest(init_images=("x",), mask="y"), Settings()).inpaint
    masked = Canvas(WHITE, mask=Image.new("L", (64, 64)))
    beginning = init_latents(
        model, [masked, Canvas(WHITE)], inpaint, lambda: torch.zeros(2, 4, 8, 8), width=64, height=64
    )
    assert beginning.mask is not None
    assert beginning.mask[0].eq(0).all() and beginning.mask[1].eq(1).all()
