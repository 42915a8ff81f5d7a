"""Pictures as tensors and back."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from modules.pipeline.pictures import to_image, to_pixels


def test_pixels_survive_the_way_in_and_out() -> None:
    values = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    pixels = to_pixels(Image.fromarray(values))
    assert pixels.shape == (1, 3, 16, 16)
    assert np.array_equal(np.asarray(to_image(pixels[0])), values)


def test_a_picture_is_cut_to_eight_bits_not_rounded() -> None:
    image = to_image(torch.tensor([0.0, 0.999, 1.0])[:, None, None])
    assert image.getpixel((0, 0)) == (0, 254, 255)
