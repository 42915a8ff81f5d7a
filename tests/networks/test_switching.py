"""Hundreds of changes of networks leave no trace: not in a bit, not in a pointer, not in memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from random import Random

import psutil
import pytest
import torch

from modules.models import Model, Pass, Patch, load, patched
from modules.networks import NetworkCache

from .conftest import GOLDEN

LORAS = sorted((GOLDEN / "lora").glob("*.safetensors"))
HYPERNETWORKS = sorted((GOLDEN / "hypernetworks").glob("*.pt"))
SWITCHES, WARM = 200, 120
STRENGTHS = (1.0, 0.6, -0.4, 1.7)
PARTS = ("unet", "text_encoder", "vae")


class Failure(Exception):
    """Something that went wrong while a picture was made."""


def bits(model: Model) -> dict[str, torch.Tensor]:
    states = {part: getattr(model, part).state_dict() for part in PARTS}
    return {f"{part}.{name}": tensor.clone() for part, state in states.items() for name, tensor in state.items()}


def pointers(model: Model) -> dict[str, int]:
    named = ((part, *item) for part in PARTS for item in getattr(model, part).named_parameters())
    return {f"{part}.{name}": parameter.data_ptr() for part, name, parameter in named}


def held() -> int:
    """Bytes of all tensors that there are, each storage counted once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor) and not thing.is_meta:
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def random_set(random: Random, model: Model, cache: NetworkCache) -> Iterator[Patch]:
    """The patches of up to four networks of any kind, each in either pass."""
    for path in random.sample(LORAS + HYPERNETWORKS, random.randrange(5)):
        strength, on = random.choice(STRENGTHS), random.choice((Pass.BOTH, Pass.BOTH, Pass.UNCOND))
        if path.suffix == ".pt":
            yield from cache.hypernetwork(path).patches(model, strength, on)
        else:
            dyn = random.choice((None, None, 2))
            yield from cache.lora(path).patches(model, strength, random.choice((None, 0.3)), dyn, on).patches


@pytest.mark.parametrize(
    "dtype",
    [torch.bfloat16, *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in (torch.float16, torch.float32))],
    ids=str,
)
def test_after_two_hundred_random_sets_every_weight_is_bit_for_bit_where_it_was(dtype: torch.dtype) -> None:
    """R006, P059: with failures in between; no tensor is left over, and no other memory to speak of."""
    model, cache, random = load(GOLDEN / "model" / "tiny_sd1.safetensors", dtype=dtype), NetworkCache(), Random(7)
    before, places = bits(model), pointers(model)
    process, warm, tensors = psutil.Process(), 0, held()
    for number in range(SWITCHES):
        try:
            with patched(model, random_set(random, model, cache)) as live, live.on(random.choice(list(Pass))):
                if number % 7 == 0:
                    raise Failure
        except Failure:
            assert pointers(model) == places
        if number == WARM:
            gc.collect()
            warm = process.memory_info().rss
    with patched(model, ()) as live:
        gc.collect()
        assert process.memory_info().rss < warm * 1.1
        del cache, live
        assert held() == tensors
        assert pointers(model) == places
        now = bits(model)
    assert now.keys() == before.keys()
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())
