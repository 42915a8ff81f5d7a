from collections.abc import Mapping

import numpy as np
import pytest
import torch

from modules.params import TagbrushError
from modules.sampling import ImageNoise, Source

from .conftest import golden

SHAPE = (4, 8, 8)


def _plain(case: dict) -> bool:
    return not {"subseeds", "seed_resize_from_h"} & case.keys()


@pytest.mark.parametrize("case", list(filter(_plain, golden("rng.json")["image_rng"])), ids=lambda case: case["key"])
def test_image_noise_is_the_references(case: dict, golden_noise: Mapping[str, np.ndarray]) -> None:
    delta = 31337 if case["key"].startswith("ensd") else 0
    noise = ImageNoise(case["seeds"], case["shape"], case["source"], eta_delta=delta)
    drawn = np.stack([noise.first().numpy(), *(noise.next().numpy() for _ in range(case["calls"] - 1))])
    assert np.array_equal(drawn, golden_noise[case["key"]])


@pytest.mark.parametrize("source", ["NV", "CPU"])
def test_a_picture_of_a_batch_has_the_noise_it_has_alone(source: Source) -> None:
    batch = ImageNoise([5, 6, 7], SHAPE, source)
    alone = ImageNoise([6], SHAPE, source)
    assert torch.equal(batch.first()[1], alone.first()[0])
    assert torch.equal(batch.next()[1], alone.next()[0])
    assert torch.equal(batch.brownian(0.1, 9)(9, 2.5)[1], alone.brownian(0.1, 9)(9, 2.5)[0])


def test_drawing_noise_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    noise = ImageNoise([1, 2], SHAPE, "CPU")
    noise.first()
    noise.brownian(0.1, 9)(9, 2.5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("source", ["NV", "CPU"])
def test_the_largest_seeds_work_in_a_batch(source: Source) -> None:
    noise = ImageNoise([2**64 - 1, 2**64], SHAPE, source, eta_delta=2**63 - 1)
    assert torch.equal(noise.first()[1], ImageNoise([0], SHAPE, source).first()[0])
    noise.next()
    noise.brownian(0.1, 9)(9, 2.5)


def test_gpu_noise_without_a_gpu_names_the_remedy() -> None:
    with pytest.raises(TagbrushError, match=r'works on cpu.*"NV"'):
        ImageNoise([1], SHAPE, "GPU")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_nv_noise_is_that_of_an_nvidia_gpu() -> None:
    on_gpu = ImageNoise([1234], SHAPE, "GPU", device="cuda")
    anywhere = ImageNoise([1234], SHAPE, "NV")
    for _ in range(3):
        torch.testing.assert_close(anywhere.next(), on_gpu.next().cpu(), rtol=0, atol=1e-6)
