from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modules.params import TagbrushError
from modules.sampling import ImageNoise, Source
from modules.sampling.noise import slerp

from .conftest import golden

SHAPE = (4, 8, 8)


CASES = golden("rng.json")["image_rng"]
GENERATED = golden("rng.json")["cpu"]


@pytest.mark.parametrize("case", CASES, ids=[case["key"] for case in CASES])
def test_image_noise_is_the_references_bit_for_bit(case: dict, golden_noise: Mapping[str, np.ndarray]) -> None:
    """Variations, other sizes, the eta noise seed delta, and each with both sources (U011)."""
    extra = {key: case[key] for key in ("subseeds", "subseed_strength") if key in case}
    if "seed_resize_from_w" in case:
        extra["seed_resize_from"] = (case["seed_resize_from_w"], case["seed_resize_from_h"])
    delta = 31337 if case["key"].startswith("ensd") else 0
    noise = ImageNoise(case["seeds"], case["shape"], case["source"], eta_delta=delta, **extra)
    drawn = np.stack([noise.first().numpy(), *(noise.next().numpy() for _ in range(case["calls"] - 1))])
    assert np.array_equal(drawn, golden_noise[case["key"]])


@pytest.mark.parametrize("case", GENERATED, ids=[str(case["seed"]) for case in GENERATED])
def test_a_seed_of_the_cpu_gives_the_numbers_of_the_reference(case: dict) -> None:
    noise = ImageNoise([case["seed"]], case["shape"], "CPU").first()[0]
    assert np.array_equal(noise.ravel()[:16].numpy(), np.float32(case["first16"]))


def test_an_arc_between_two_noises_is_the_references(golden_noise: Mapping[str, np.ndarray]) -> None:
    first, second = (ImageNoise([seed], SHAPE, "CPU").first()[0] for seed in (3, 4))
    assert np.array_equal(slerp(first, second, 0.3).numpy(), golden_noise["slerp_0.3"])
    assert np.array_equal(slerp(first, first + 1e-4, 0.3).numpy(), golden_noise["slerp_same"])


@given(strength=st.floats(0.01, 0.99), height=st.sampled_from((1, 8, 12)), seed=st.integers(0), subseed=st.integers(0))
def test_a_variation_is_noise_whatever_the_size(strength: float, height: int, seed: int, subseed: int) -> None:
    """One row has columns of one number each, between which there is no arc."""
    noise = ImageNoise([seed], (4, height, 8), "CPU", subseeds=[subseed], subseed_strength=strength)
    assert noise.first().abs().max() < 10


@pytest.mark.parametrize("source", ["NV", "CPU"])
def test_the_ends_of_a_variation_are_the_two_noises(source: Source) -> None:
    own, other = ImageNoise([1], SHAPE, source).first(), ImageNoise([2], SHAPE, source).first()
    none = ImageNoise([1], SHAPE, source, subseeds=[2], subseed_strength=0.0)
    whole = ImageNoise([1], SHAPE, source, subseeds=[2], subseed_strength=1.0)
    assert torch.equal(none.first(), own)
    torch.testing.assert_close(whole.first(), other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("source", ["NV", "CPU"])
@pytest.mark.parametrize("resized", [None, (64, 64), (192, 32), (8, 8), (4, 4)], ids=str)
def test_a_varied_or_resized_picture_of_a_batch_has_the_noise_it_has_alone(
    source: Source, resized: tuple[int, int] | None
) -> None:
    extra = {"subseed_strength": 0.4, "seed_resize_from": resized, "eta_delta": 31337}
    batch = ImageNoise([5, 5, 5], (4, 9, 7), source, subseeds=[6, 7, 8], **extra)
    alone = ImageNoise([5], (4, 9, 7), source, subseeds=[7], **extra)
    for draw in ("first", "next", "next"):
        together, single = getattr(batch, draw)(), getattr(alone, draw)()
        assert together.shape == (3, 4, 9, 7)
        assert torch.equal(together[1], single[0])


def test_a_smaller_noise_is_the_middle_and_a_larger_one_is_cut() -> None:
    """Where a picture of another size has the same noise, the motif stays."""
    small, large = ImageNoise([9], (4, 4, 12), "CPU").first(), ImageNoise([9], (4, 8, 6), "CPU")
    resized = ImageNoise([9], (4, 8, 6), "CPU", seed_resize_from=(96, 32)).first()
    assert torch.equal(resized[:, :, 2:6], small[:, :, :, 3:9])
    assert torch.equal(resized[:, :, :2], large.first()[:, :, :2])


def test_a_delta_changes_every_draw_but_the_first() -> None:
    plain, moved, other = (
        ImageNoise([seed], SHAPE, "NV", eta_delta=delta) for seed, delta in ((4, 0), (4, 96), (100, 0))
    )
    assert torch.equal(plain.first(), moved.first())
    moved_next = moved.next()
    assert not torch.equal(plain.next(), moved_next)
    assert torch.equal(moved_next, other.next())


@pytest.mark.parametrize("source", ["NV", "CPU"])
def test_brownian_noise_knows_the_seed_alone(source: Source) -> None:
    plain = ImageNoise([4], SHAPE, source)
    varied = ImageNoise([4], SHAPE, source, subseeds=[5], subseed_strength=0.5, eta_delta=31337)
    varied.first()
    assert torch.equal(plain.brownian(0.1, 9)(9, 2.5), varied.brownian(0.1, 9)(9, 2.5))


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
