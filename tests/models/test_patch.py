"""Patches act as asked, and leave no trace."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from modules.models import ContextPatch, Model, Pass, PatchError, Thin, WeightPatch, bare, load, patched
from modules.models.attention import PatchableAttention
from modules.models.merges import Merges, Sources
from modules.models.merging import merge
from modules.params import BadFile
from tests.models.conftest import CHECKPOINT

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def small_model(dtype: torch.dtype = torch.float32) -> Model:
    torch.manual_seed(5)
    unet = nn.Sequential(nn.Linear(6, 5), nn.Conv2d(3, 4, 3), nn.Linear(6, 4, bias=False))
    parts = {
        "unet": unet,
        "vae": nn.Sequential(nn.Linear(2, 2)),
        "text_encoder": nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
    }
    return Model(
        **{name: part.to(dtype).requires_grad_(False) for name, part in parts.items()},
        family="sd1",
        prediction_type="epsilon",
        alphas_cumprod=torch.ones(1000),
        rgb=torch.zeros(5, 3),
        path=Path("small.safetensors"),
        device=torch.device("cpu"),
        dtype=dtype,
    )


def bits(model: Model) -> dict[str, bytes]:
    parts = {"unet": model.unet, "vae": model.vae, "text_encoder": model.text_encoder}
    return {
        f"{part}.{name}": tensor.view(torch.uint8).numpy().tobytes()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def pointers(model: Model) -> list[int]:
    return [parameter.data_ptr() for parameter in model.unet.parameters()]


def noise(key: int, size: float = 1.0):
    def delta(weight: torch.Tensor) -> torch.Tensor:
        return size * torch.randn(weight.shape, generator=torch.Generator().manual_seed(key))

    return delta


def add(target: str, key: int = 0, on: Pass = Pass.BOTH, size: float = 1.0) -> WeightPatch:
    return WeightPatch(target, noise(key, size), key=(key, size), on=on)


TARGETS = ("unet.0.weight", "unet.0.bias", "unet.1.weight", "unet.2.weight", "unet.2.bias", "text_encoder.1.weight")


def mixture(seed: int) -> list[WeightPatch]:
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(0, 10_000, (12, 3), generator=generator).tolist()
    return [
        add(TARGETS[a % len(TARGETS)], key=b, on=Pass.UNCOND if c % 3 == 0 else Pass.BOTH, size=10.0 ** (c % 9 - 4))
        for a, b, c in picks
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_any_mixture_of_patches_leaves_every_bit_as_it_was(dtype: torch.dtype, seed: int) -> None:
    model = small_model(dtype)
    before = bits(model)
    for _ in range(2):
        with patched(model, mixture(seed)) as live:
            assert bits(model) != before
            with live.on(Pass.UNCOND):
                pass
            with live.on(Pass.BOTH):
                pass
        assert bits(model) == before


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_exception_in_either_pass_leaves_every_bit_as_it_was(dtype: torch.dtype) -> None:
    model = small_model(dtype)
    before = bits(model)
    for which in Pass:
        with pytest.raises(KeyboardInterrupt), patched(model, mixture(1)) as live, live.on(which):
            raise KeyboardInterrupt
        assert bits(model) == before
        assert model.attention.changes == {}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_weight_of_a_checkpoint_comes_back_from_both_passes(dtype: torch.dtype) -> None:
    model = load(CHECKPOINT, dtype=dtype)
    before = bits(model)
    names = [name for name in before if not name.endswith("position_ids")]
    patches = [add(name, index, Pass.UNCOND if index % 3 else Pass.BOTH) for index, name in enumerate(names)]
    with patched(model, patches) as live, live.on(Pass.UNCOND):
        changed = bits(model)
        assert all(changed[name] != before[name] for name in names)
    assert bits(model) == before


def test_a_sum_is_rounded_once() -> None:
    model = small_model(torch.float16)
    original = model.unet[0].weight.clone()
    tiny = [WeightPatch("unet.0.weight", lambda w: torch.full_like(w, 2.0**-13), key=i) for i in range(64)]
    with patched(model, tiny):
        expected = (original.float() + 64 * 2.0**-13).half()
        assert torch.equal(model.unet[0].weight, expected)


def test_a_patch_sees_the_weight_as_the_one_before_left_it() -> None:
    model = small_model()
    original = model.unet[0].weight.clone()
    double = WeightPatch("unet.0.weight", lambda w: w.clone(), key="double")
    with patched(model, [double, double]):
        assert torch.equal(model.unet[0].weight, original * 4)


def test_the_merged_weights_take_the_storage_of_the_originals() -> None:
    """E001"""
    model = small_model()
    before = pointers(model)
    with patched(model, [add("unet.0.weight")]):
        assert pointers(model) == before
    assert pointers(model) == before


def test_the_unconditional_pass_has_its_own_weights_on_top_of_the_shared_ones() -> None:
    model = small_model()
    original = model.unet[0].weight.clone()
    both, uncond = add("unet.0.weight", 1), add("unet.0.weight", 2, Pass.UNCOND)
    with patched(model, [both, uncond]) as live:
        assert live.splits_guidance
        shared = model.unet[0].weight.clone()
        assert torch.equal(shared, original + both.delta(original))
        with live.on(Pass.UNCOND):
            assert torch.equal(model.unet[0].weight, original + both.delta(original) + uncond.delta(original))
        assert torch.equal(model.unet[0].weight, shared)
    assert torch.equal(model.unet[0].weight, original)


def test_guidance_is_split_only_where_the_unet_differs_between_the_passes() -> None:
    model = small_model()
    shift = ContextPatch(6, lambda c: c, lambda c: c, key=0, on=Pass.UNCOND)
    for patches, splits in (
        ([], False),
        ([add("unet.0.weight")], False),
        ([add("text_encoder.0.weight", on=Pass.UNCOND)], False),
        ([add("unet.0.weight", on=Pass.UNCOND)], True),
        ([shift], True),
    ):
        with patched(model, patches) as live:
            assert live.splits_guidance is splits


def test_a_bias_that_the_layer_lacks_is_added_and_taken_away() -> None:
    model = small_model()
    with patched(model, [add("unet.2.bias", 3)]):
        assert torch.equal(model.unet[2].bias, noise(3)(torch.zeros(4)))
    assert model.unet[2].bias is None


@pytest.mark.parametrize("target", ["unet.7.weight", "unet.0.scale", "head.0.weight", "unet.weight", "path.name"])
def test_an_unknown_weight_is_named_and_nothing_changes(target: str) -> None:
    model = small_model()
    before = bits(model)
    with pytest.raises(PatchError, match=target) as raised, patched(model, [add("unet.0.weight"), add(target, 9)]):
        pass
    assert raised.value.key == (9, 1.0)
    assert bits(model) == before


def test_a_difference_of_another_shape_is_refused_and_nothing_changes() -> None:
    model = small_model()
    before = bits(model)
    wrong = WeightPatch("unet.0.weight", lambda w: torch.zeros(1), key="wrong")
    with pytest.raises(PatchError, match=r"\(1,\).*\(5, 6\)"), patched(model, [add("unet.0.bias"), wrong]):
        pass
    assert bits(model) == before


def test_the_same_patches_again_are_not_computed_again() -> None:
    model = small_model()
    calls = []
    counted = WeightPatch("unet.0.weight", lambda w: calls.append(1) or torch.ones_like(w), key="counted")
    results = []
    for _ in range(3):
        with patched(model, [counted]):
            results.append(model.unet[0].weight.clone())
    assert len(calls) == 1
    assert torch.equal(results[0], results[2])


def test_the_same_patches_on_the_next_picture_cost_nothing() -> None:
    """E001"""
    model = small_model()
    patches = [add("unet.0.weight"), add("unet.2.bias", 2), add("unet.1.weight", 3, Pass.UNCOND)]
    with patched(model, patches):
        merged = model.unet[0].weight.clone()
    written = model.merges.written
    with patched(model, patches) as live, live.on(Pass.UNCOND):
        assert torch.equal(model.unet[0].weight, merged)
    assert model.merges.written == written


def test_another_set_touches_only_the_weights_that_differ() -> None:
    model = small_model()
    common = [add("unet.0.weight"), add("text_encoder.0.weight", 2)]
    with patched(model, [*common, add("unet.1.weight", 3)]):
        pass
    written = model.merges.written
    with patched(model, [*common, add("unet.2.weight", 4)]):
        assert model.merges.written == written + 2  # one put back, one merged
        assert torch.equal(model.unet[1].weight, small_model().unet[1].weight)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_that_threads_fill_beside_each_other_have_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    def story() -> list[bytes]:
        model, seen = small_model(dtype), []
        for seed in (3, 4, 3):
            with patched(model, mixture(seed)) as live, live.on(Pass.UNCOND):
                weights = bare(model, "unet").state_dict() | bare(model, "text_encoder").state_dict()
                seen += [weight.view(torch.uint8).numpy().tobytes() for weight in weights.values()]
        return [*seen, *bits(model).values()]

    alone = story()
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr("modules.models.merges.MANY", 0)
    try:
        assert story() == alone
    finally:
        torch.set_num_threads(threads)


def test_copies_for_the_unconditional_pass_go_when_a_network_is_read() -> None:
    model = small_model()
    with patched(model, [add("unet.0.weight", on=Pass.UNCOND)]):
        assert model.merges.apart()
    assert model.unet
    assert not model.merges.apart()


def test_whoever_reads_a_network_between_pictures_finds_its_own_weights() -> None:
    model = small_model()
    before = bits(model)
    with patched(model, mixture(3)):
        pass
    assert not torch.equal(bare(model, "unet")[0].weight, small_model().unet[0].weight)
    read = model.unet
    assert read is bare(model, "unet")
    assert bits(model) == before


def test_a_text_encoder_read_alone_puts_everything_back() -> None:
    model = small_model()
    before = bits(model)
    with patched(model, mixture(3)):
        pass
    assert model.text_encoder is not None
    assert {name: bits(model)[name] for name in before} == before


def test_a_failure_puts_weights_back_at_once() -> None:
    model = small_model()
    before = [parameter.clone() for parameter in model.unet.parameters()]
    with pytest.raises(KeyboardInterrupt), patched(model, mixture(1)):
        raise KeyboardInterrupt
    assert all(torch.equal(*pair) for pair in zip(bare(model, "unet").parameters(), before, strict=True))


def test_a_failure_keeps_no_memory_for_merges() -> None:
    """R005: it may have been for want of memory."""
    model = small_model()
    with pytest.raises(MemoryError), patched(model, mixture(1)):
        assert model.merges.copied
        raise MemoryError
    assert not model.merges.copied
    assert not model.merges.apart()


def test_the_vae_which_is_read_outside_comes_back_at_once() -> None:
    model = small_model()
    before = model.vae[0].weight.clone()
    with patched(model, [add("vae.0.weight"), add("unet.0.weight")]):
        assert not torch.equal(model.vae[0].weight, before)
    assert torch.equal(model.vae[0].weight, before)


def test_a_model_with_another_vae_shares_what_is_merged() -> None:
    model = small_model()
    before = bits(model)
    with patched(model, [add("unet.0.weight")]):
        pass
    twin = replace(model, vae=nn.Sequential(nn.Linear(2, 2)))
    with patched(twin, [add("unet.0.weight")]):
        pass
    assert bits(model) == before


def test_a_missing_bias_can_be_there_for_the_unconditional_pass_alone() -> None:
    model = small_model()
    patches = [add("unet.2.bias", 3, Pass.UNCOND)]
    for _ in range(2):
        with patched(model, patches) as live:
            assert not model.unet[2].bias.any()
            with live.on(Pass.UNCOND):
                assert torch.equal(model.unet[2].bias, noise(3)(torch.zeros(4)))
    assert model.unet[2].bias is None


def thin(
    target: str, rows: int, columns: int, key: int, gain: float = 0.5, kept: torch.dtype = torch.float32
) -> WeightPatch:
    generator = torch.Generator().manual_seed(key)
    up, down = (torch.randn(shape, generator=generator).to(kept) for shape in ((rows, 2), (2, columns)))
    delta = gain * (up.float() @ down.float())
    return WeightPatch(target, lambda w: delta.reshape(w.shape), key, thin=Thin(up, down, gain))


@pytest.mark.parametrize("block", [1, 7, 10_000])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_thin_matrices_give_the_sum_of_the_written_out_differences(
    dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.models.merging.BLOCK", block)
    model = small_model(dtype)
    patches = [thin("unet.1.weight", 4, 27, 1), thin("unet.1.weight", 4, 27, 2), thin("unet.0.weight", 5, 6, 3)]
    written_out = [replace(patch, thin=None) for patch in patches]
    with patched(model, patches):
        fast = [parameter.clone() for parameter in model.unet.parameters()]
    other = small_model(dtype)
    with patched(other, written_out):
        for got, wanted in zip(fast, other.unet.parameters(), strict=True):
            assert torch.allclose(got.float(), wanted.float(), atol=1e-6, rtol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("gains", [(0.3, 0.3), (0.3, -0.1)])
@pytest.mark.parametrize("kept", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_products_of_bfloat16_parts_round_as_float32_does(
    kept: torch.dtype, gains: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever way the machine is faster in, weights are the same but for a few at the edge of rounding."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(320, 960, generator=generator).bfloat16()
    chain = [thin("unet.0.weight", 320, 960, key, gain, kept) for key, gain in enumerate(gains)]
    merged = {}
    for is_fast in (True, False):
        monkeypatch.setattr("modules.models.merging.has_fast_bfloat16", lambda _, is_fast=is_fast: is_fast)
        merged[is_fast] = torch.empty_like(weight)
        merge(merged[is_fast], weight, chain)
    assert (merged[True] != merged[False]).float().mean() < 5e-4
    assert torch.allclose(merged[True].float(), merged[False].float(), rtol=2**-7, atol=1e-4)


@pytest.mark.parametrize("patches", [[add("unet.0.weight", 1)], [thin("unet.0.weight", 5, 6, 1)]])
def test_what_is_merged_does_not_depend_on_where_the_original_is_read(patches: list[WeightPatch]) -> None:
    """Neither on a file of more digits than the model has, nor on the set that was there before."""
    precise = torch.randn(5, 6)
    model = small_model(torch.bfloat16)
    model.unet[0].weight.copy_(precise)
    known = replace(model, merges=Merges(Sources({"unet.0.weight": precise}, {})))
    with patched(known, patches):
        first = known.unet[0].weight.clone()
        assert known.merges.copied == 0
    with patched(known, [add("unet.0.weight", 9)]):
        pass
    with patched(known, patches):
        assert torch.equal(known.unet[0].weight, first)
    known.merges.settle()
    with patched(model, patches):
        assert torch.equal(model.unet[0].weight, first)


def test_thin_matrices_of_another_shape_are_refused() -> None:
    model = small_model()
    before = bits(model)
    wrong = thin("unet.1.weight", 4, 30, 1)
    with pytest.raises(PatchError, match=r"\(4, 30\).*\(4, 3, 3, 3\)"), patched(model, [wrong]):
        pass
    assert bits(model) == before


def loaded(tmp_path: Path) -> tuple[Model, Path, dict[str, bytes]]:
    """A model whose originals are the views of its file."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(CHECKPOINT.read_bytes())
    facts = CHECKPOINT.with_suffix(".yaml")
    path.with_suffix(".yaml").write_bytes(facts.read_bytes())
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_bytes((CHECKPOINT.parent / "clip" / "config.json").read_bytes())
    model = load(path)
    return model, path, bits(model)


CONV = "unet.conv_in.weight"


def test_a_mapped_checkpoint_is_the_original(tmp_path: Path) -> None:
    model, _, before = loaded(tmp_path)
    with patched(model, [add(CONV)]):
        pass
    assert model.merges.copied == 0
    assert bits(model) == before


@pytest.mark.parametrize("replace_it", [Path.unlink, lambda path: path.with_name("new").replace(path)])
def test_a_checkpoint_that_was_deleted_or_replaced_still_gives_the_originals(
    replace_it: Callable[[Path], None], tmp_path: Path
) -> None:
    model, path, before = loaded(tmp_path)
    with patched(model, [add(CONV)]):
        path.with_name("new").write_bytes(b"another file")
        replace_it(path)
    assert bits(model) == before


def test_a_checkpoint_that_was_written_to_is_an_error_and_no_wrong_weight(tmp_path: Path) -> None:
    model, path, _ = loaded(tmp_path)
    with patched(model, [add(CONV)]):
        pass
    os.utime(path, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(BadFile, match="was written to while it was in use"):
            bits(model)


def test_patching_a_patched_model_is_refused() -> None:
    model = small_model()
    with patched(model, []), pytest.raises(RuntimeError, match="one call"), patched(model, []):
        pass
    with patched(model, []):
        pass


def test_patching_inside_inference_mode_leaves_ordinary_weights() -> None:
    model = small_model()
    before = bits(model)
    with torch.inference_mode(), patched(model, mixture(2)) as live, live.on(Pass.UNCOND):
        pass
    assert bits(model) == before
    with patched(model, mixture(2)) as live, live.on(Pass.UNCOND):
        assert not model.unet[0].weight.is_inference()
    model.unet[0].weight.requires_grad_(True).sum().backward()


def attention_layer(width: int, context_width: int) -> SimpleNamespace:
    torch.manual_seed(2)
    return SimpleNamespace(
        heads=2,
        to_q=nn.Linear(width, 8),
        to_k=nn.Linear(context_width, 8),
        to_v=nn.Linear(context_width, 8),
        to_out=nn.ModuleList([nn.Linear(8, width), nn.Identity()]),
    )


def test_context_patches_act_by_width_in_order_and_only_inside() -> None:
    model = small_model()
    layer, other = attention_layer(6, 6), attention_layer(6, 4)
    hidden, context = torch.randn(2, 5, 6), torch.randn(2, 3, 4)
    plain, plain_other = model.attention(layer, hidden), model.attention(other, hidden, context)
    patches = [
        ContextPatch(6, lambda c: c + 1, lambda c: c * 2, key="a"),
        ContextPatch(6, lambda c: c * 3, lambda c: c - 1, key="b"),
    ]
    with patched(model, patches) as live:
        assert not live.splits_guidance
        changed = model.attention(layer, hidden)
        assert torch.equal(model.attention(other, hidden, context), plain_other)
    by_hand = attention_by_hand(layer, hidden, (hidden + 1) * 3, hidden * 2 - 1)
    assert torch.allclose(changed, by_hand, atol=1e-6)
    assert torch.equal(model.attention(layer, hidden), plain)


def attention_by_hand(layer: SimpleNamespace, hidden: torch.Tensor, for_keys: torch.Tensor, for_values: torch.Tensor):
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        query, key = layer.to_q(hidden)[..., part], layer.to_k(for_keys)[..., part]
        value = layer.to_v(for_values)[..., part]
        heads.append((query @ key.mT / 4**0.5).softmax(-1) @ value)
    return layer.to_out[0](torch.cat(heads, -1))


def test_a_context_patch_of_the_unconditional_pass_stays_out_of_the_other() -> None:
    model = small_model()
    layer, hidden = attention_layer(6, 6), torch.randn(1, 5, 6)
    plain = model.attention(layer, hidden)
    with patched(model, [ContextPatch(6, lambda c: c + 1, lambda c: c, key=0, on=Pass.UNCOND)]) as live:
        assert torch.equal(model.attention(layer, hidden), plain)
        with live.on(Pass.UNCOND):
            assert not torch.equal(model.attention(layer, hidden), plain)
        assert torch.equal(model.attention(layer, hidden), plain)


def test_a_context_is_changed_in_float32_and_returned_in_its_own_dtype() -> None:
    seen = []
    attention = PatchableAttention()
    attention.changes = {6: ((lambda c: seen.append(c.dtype) or c, lambda c: c),)}
    layer = attention_layer(6, 6)
    for name in ("to_q", "to_k", "to_v", "to_out"):
        getattr(layer, name).to(torch.bfloat16)
    result = attention(layer, torch.randn(1, 5, 6, dtype=torch.bfloat16))
    assert seen == [torch.float32]
    assert result.dtype is torch.bfloat16
