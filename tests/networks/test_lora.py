"""What holds for every LoRA, and what a file must not be."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from modules.conditioning import encode
from modules.models import Model, Pass, WeightPatch, patched
from modules.networks import NetworkMisfit, describe, describe_partial, load_lora
from modules.networks.lora.changes import MAX_RANK, Misshapen
from modules.networks.lora.layer import KINDS, MODIFIERS, Layer
from modules.params import BadFile
from modules.prompt import Tokenizer, parse_prompt

from .conftest import GOLDEN, distance

FOLDER = GOLDEN / "lora"
TO_Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
TARGET = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"


def linear(out: int = 32, in_: int = 32, rank: int = 2) -> dict[str, torch.Tensor]:
    return {"lora_up.weight": torch.randn(out, rank), "lora_down.weight": torch.randn(rank, in_)}


def written(path: Path, *, metadata: dict[str, str] | None = None, **layers: dict[str, torch.Tensor]) -> Path:
    tensors = {f"{name}.{part}": tensor for name, parts in layers.items() for part, tensor in parts.items()}
    save_file(tensors, path, metadata)
    return path


def delta(path: Path, model: Model, **arguments: Any) -> torch.Tensor:
    (patch,) = load_lora(path).patches(model, **arguments).patches
    return patch.delta(original(model, patch))


def original(model: Model, patch: WeightPatch) -> torch.Tensor:
    network, _, name = patch.target.partition(".")
    return getattr(model, network).get_parameter(name).detach().float()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.safetensors")), ids=lambda path: path.stem)
def test_weights_are_bit_identical_afterwards(path: Path, model: Model) -> None:
    """P059, E001, R006"""
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    with patched(model, load_lora(path).patches(model, 0.7).patches):
        assert any(not torch.equal(tensor, before[name]) for name, tensor in model.unet.state_dict().items())
    after = model.unet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.safetensors")), ids=lambda path: path.stem)
def test_a_difference_grows_with_its_strength_and_leaves_the_weight_alone(path: Path, model: Model) -> None:
    lora = load_lora(path)
    twice = {patch.target: patch for patch in lora.patches(model, 2.0).patches}
    for patch in lora.patches(model, 1.0).patches:
        if patch.target.endswith("bias"):
            continue
        weight = original(model, patch)
        kept = weight.clone()
        one, two = patch.delta(weight), twice[patch.target].delta(weight)
        assert torch.equal(weight, kept)
        assert one.dtype is torch.float32 and one.shape == weight.shape
        if path.stem != "boft":
            assert distance(two, 2 * one) < 1e-5


def test_a_strength_of_zero_leaves_no_patch(model: Model) -> None:
    lora = load_lora(FOLDER / "lin.safetensors")
    assert {patch.target.split(".")[0] for patch in lora.patches(model, 0.0, 1.0).patches} == {"unet"}
    assert {patch.target.split(".")[0] for patch in lora.patches(model, 1.0, 0.0).patches} == {"text_encoder"}
    assert lora.patches(model, 0.0).patches == ()


def test_unet_follows_te_unless_given(model: Model) -> None:
    """P053, D041"""
    lora = load_lora(FOLDER / "lin.safetensors")
    assert [patch.key for patch in lora.patches(model, 0.3).patches] == [
        patch.key for patch in lora.patches(model, 0.3, 0.3).patches
    ]


def test_keys_stand_for_file_layer_strength_and_rank(model: Model, tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", **{TO_Q: linear()})
    lora = load_lora(path)
    keys = [lora.patches(model, te, dyn=dyn).patches[0].key for te, dyn in ((1.0, None), (0.5, None), (1.0, 1))]
    assert len(set(keys)) == 3
    assert keys[0] == load_lora(path).patches(model).patches[0].key
    os.utime(path, ns=(1, 1))
    assert keys[0] != load_lora(path).patches(model).patches[0].key


def test_a_pass_is_carried_on(model: Model) -> None:
    assert {patch.on for patch in load_lora(FOLDER / "full.safetensors").patches(model, on=Pass.UNCOND).patches} == {
        Pass.UNCOND
    }


def test_what_does_not_fit_is_named_and_the_rest_applies(model: Model) -> None:
    """D044, P056"""
    lora = load_lora(FOLDER / "unmatched.safetensors")
    patches, unmatched = lora.patches(model)
    assert [patch.target for patch in patches] == [TARGET]
    assert unmatched == ("lora_unet_down_blocks_9_attentions_0_proj_in",)
    assert describe_partial("lora", lora.name, unmatched, len(lora.layers)) == (
        'LoRA "unmatched" was applied in part: 1 of its 2 layers do not fit this model '
        "(lora_unet_down_blocks_9_attentions_0_proj_in)."
    )


def test_a_layer_of_another_size_is_left_out(model: Model, tmp_path: Path) -> None:
    wide = "lora_unet_conv_in"
    path = written(tmp_path / "a.safetensors", **{TO_Q: linear(), wide: linear(320, 36)})
    assert load_lora(path).patches(model).unmatched == (wide,)


def test_a_bias_for_a_layer_that_can_have_none_is_left_out(model: Model, tmp_path: Path) -> None:
    words = "lora_te_text_model_embeddings_position_embedding"
    path = written(tmp_path / "a.safetensors", **{TO_Q: linear(), words: {"diff_b": torch.ones(77)}})
    patches, unmatched = load_lora(path).patches(model)
    assert unmatched == (words,)
    with patched(model, patches):
        pass


@pytest.mark.parametrize(
    ("layers", "metadata", "family"),
    [
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1": linear()}, {}, "SDXL"),
        ({"lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q": linear(640, 640)}, {}, "SDXL"),
        ({"lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn1_to_q": linear(640, 640)}, {}, "SDXL"),
        ({"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": linear(640, 2048)}, {}, "SDXL"),
        ({"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": linear(320, 1024)}, {}, "SD 2"),
        ({"lora_unet_double_blocks_0_img_attn_proj": linear(3072, 3072)}, {}, "Flux"),
        ({"lora_unet_joint_blocks_0_x_block_attn_proj": linear(1536, 1536)}, {}, "SD 3"),
        ({"lora_unet_conv_in": linear(320, 36)}, {"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
        ({"lora_unet_conv_in": linear(320, 36)}, {"ss_v2": "True"}, "SD 2"),
        ({"lora_unet_conv_in": linear(320, 36)}, {}, "another kind of model"),
    ],
)
def test_another_familys_lora_says_which(
    layers: dict[str, Any], metadata: dict[str, str], family: str, model: Model, tmp_path: Path
) -> None:
    """D044, D047"""
    path = written(tmp_path / "style.safetensors", metadata=metadata or None, **{TO_Q: linear(640, 640)} | layers)
    with pytest.raises(NetworkMisfit) as caught:
        load_lora(path).patches(model)
    assert str(caught.value).startswith(f"style: made for {family}, this is an SD 1 model")
    assert describe("lora", "style", caught.value).startswith(f'LoRA "style" was left out: made for {family}')


@pytest.mark.parametrize("metadata", [{}, {"ss_base_model_version": "sd_v1"}])
def test_a_lora_for_the_same_family_in_another_size_says_so(
    metadata: dict[str, str], model: Model, tmp_path: Path
) -> None:
    """As any downloaded SD 1.5 LoRA is for the small built-in model."""
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    layers = {name: linear(1280, 768)} if not metadata else {"lora_unet_conv_in": linear(320, 36)}
    path = written(tmp_path / "style.safetensors", metadata=metadata or None, **layers)
    with pytest.raises(NetworkMisfit, match=r"made for SD 1 models of another size than this one \(none of its 1"):
        load_lora(path).patches(model)


def test_an_sd1_lora_is_refused_by_an_sdxl_model(model: Model) -> None:
    with pytest.raises(NetworkMisfit, match="this is an SDXL model"):
        replace(load_lora(FOLDER / "lin.safetensors"), family="sd1").patches(replace(model, family="sdxl"))


def test_dora_at_the_lengths_the_weight_has_already_changes_directions_alone(model: Model, tmp_path: Path) -> None:
    parts = linear()
    weight = model.unet.get_parameter(TARGET.removeprefix("unet.")).detach()
    changed = weight + parts["lora_up.weight"] @ parts["lora_down.weight"]
    for name, axis in (("dora_scale", 0), ("lora_magnitude_vector", 1)):
        lengths = torch.linalg.vector_norm(changed, dim=axis, keepdim=name == "dora_scale")
        path = written(tmp_path / f"{name}.safetensors", **{TO_Q: parts | {name: lengths}})
        assert distance(delta(path, model), changed - weight) < 1e-5


def test_an_inpainting_models_first_layer_is_changed_in_its_latent_channels() -> None:
    """D043"""
    layer = Layer.from_parts({"up": torch.randn(32, 4, 1, 1), "down": torch.randn(4, 4, 3, 3)})
    weight = torch.randn(32, 9, 3, 3)
    assert layer.fits(weight.shape, bias=None)
    change = layer.weight_delta(weight, 1.0, None)
    assert torch.equal(change[:, :4], layer.weight_delta(weight[:, :4], 1.0, None))
    assert not change[:, 4:].any()


def test_peft_metadata_gives_the_alpha_that_its_tensors_lack(model: Model, tmp_path: Path) -> None:
    name = TARGET.removesuffix(".weight")
    parts = {"lora_B.weight": torch.randn(32, 2), "lora_A.weight": torch.randn(2, 32)}
    plain = delta(written(tmp_path / "plain.safetensors", **{name: parts}), model)
    for settings_, gain in (
        ({"unet.lora_alpha": 8}, 4.0),
        ({"unet.lora_alpha": 8, "unet.use_rslora": True}, 8 / 2**0.5),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 1}}, 0.5),
        ({"text_encoder.lora_alpha": 8}, 1.0),
        ({"unet.lora_alpha": "many"}, 1.0),
        ({"unet.lora_alpha": 10**400}, 1.0),
        ([], 1.0),
    ):
        path = tmp_path / "with.safetensors"
        written(path, metadata={"lora_adapter_metadata": json.dumps(settings_)}, **{name: parts})
        assert distance(delta(path, model), gain * plain) < 1e-5


def test_a_rank_stabilised_lora_without_ranks_is_refused(tmp_path: Path) -> None:
    parts = {"lora_B.weight": torch.ones(()), "lora_A.weight": torch.ones(())}
    settings_ = json.dumps({"unet.lora_alpha": 8, "unet.use_rslora": True})
    path = tmp_path / "a.safetensors"
    written(path, metadata={"lora_adapter_metadata": settings_}, **{TARGET.removesuffix(".weight"): parts})
    with pytest.raises(BadFile, match="matrices and kernels are expected"):
        load_lora(path)


RANK = 9000
KERNEL = torch.zeros(RANK, 1, 1, 1)


@pytest.mark.parametrize(
    "parts",
    [
        {"lora_up.weight": torch.zeros(32, RANK), "lora_mid.weight": KERNEL, "lora_down.weight": torch.zeros(1, 32)},
        {
            f"hada_{name}": tensor.clone()
            for number in (1, 2)
            for name, tensor in (
                (f"t{number}", KERNEL),
                (f"w{number}_a", torch.zeros(RANK, 32)),
                (f"w{number}_b", torch.zeros(1, 32)),
            )
        },
        {
            "lokr_w1": torch.zeros(1, 1),
            "lokr_t2": KERNEL,
            "lokr_w2_a": torch.zeros(RANK, 32),
            "lokr_w2_b": torch.zeros(1, 32),
        },
    ],
    ids=["LoCon", "LoHa", "LoKr"],
)
def test_a_kernel_of_a_rank_beyond_measure_is_refused_when_it_is_read(
    parts: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = written(tmp_path / "a.safetensors", lora_unet_conv_in=parts)
    with pytest.raises(BadFile, match=f"a rank of {RANK}"):
        load_lora(path)


def test_a_pytorch_file_holds_the_same_lora(model: Model, tmp_path: Path) -> None:
    """D040"""
    parts = linear()
    safe = written(tmp_path / "a.safetensors", **{TO_Q: parts})
    torch.save({f"{TO_Q}.{name}": tensor for name, tensor in parts.items()}, tmp_path / "a.pt")
    assert torch.equal(delta(tmp_path / "a.pt", model), delta(safe, model))


def test_a_lora_no_longer_needs_its_file(model: Model, tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", **{TO_Q: linear(rank=64)})
    lora = load_lora(path)
    (patch,) = lora.patches(model).patches
    before = patch.delta(original(model, patch))
    path.write_bytes(b"")
    assert torch.equal(patch.delta(original(model, patch)), before)


def test_bundled_embeddings_work_as_words(model: Model, golden: Callable[..., torch.Tensor]) -> None:
    # D045
    """D045, P092"""
    words = {word.name: word.fitted(model) for word in load_lora(FOLDER / "bundle.safetensors").embeddings}
    prompt = parse_prompt("a bundledti and bundled2", steps=20)
    (conditioning,) = encode(model, [prompt], tokenizer=Tokenizer(), embeddings=words)
    ((_, context),) = conditioning.at(1)
    assert distance(context.tokens, golden("lora_outputs", "bundle/te_with_embedding")) < 1e-4


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_runs_nothing(legacy: bool, tmp_path: Path) -> None:
    """R001"""
    path, trace = tmp_path / "bomb.pt", tmp_path / "ran"
    torch.save({f"{TO_Q}.alpha": Bomb(trace)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(BadFile, match="could run code"):
        load_lora(path)
    assert not trace.exists()


def test_a_bare_pickle_runs_nothing(tmp_path: Path) -> None:
    path, trace = tmp_path / "bomb.ckpt", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(BadFile):
        load_lora(path)
    assert not trace.exists()


def cut(path: Path) -> None:
    path.write_bytes((FOLDER / "lin.safetensors").read_bytes()[:-100])


def header_only(path: Path) -> None:
    path.write_bytes((FOLDER / "lin.safetensors").read_bytes()[:300])


def huge_header(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def huge_tensor(path: Path) -> None:
    shape, end = [2**20, 2**20], 2**42
    header = json.dumps({f"{TO_Q}.diff": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("<html>404 not found</html>" * 100)


@pytest.mark.parametrize("damage", [cut, header_only, huge_header, huge_tensor, empty, text])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_damaged_file_is_refused(damage: Callable[[Path], None], suffix: str, tmp_path: Path) -> None:
    """R008"""
    path = tmp_path / f"bad{suffix}"
    damage(path)
    with pytest.raises(BadFile, match=r"^bad"):
        load_lora(path)


def test_a_zip_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", bytes(1000))
    with pytest.raises(BadFile, match="zip"):
        load_lora(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        load_lora(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("key", "shape", "reason"),
    [
        ("emb_params", (1, 64), "is an embedding"),
        ("model.diffusion_model.input_blocks.0.0.weight", (32, 4, 3, 3), "is a checkpoint"),
        ("encoder.down.0.block.0.conv1.weight", (32, 32), "is a VAE"),
        ("something", (1,), "holds no LoRA"),
    ],
)
def test_a_file_of_another_kind_says_where_it_belongs(
    key: str, shape: tuple[int, ...], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({key: torch.zeros(shape)}, path)
    with pytest.raises(BadFile, match=reason):
        load_lora(path)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"lora_up.weight": torch.zeros(8, 2), "lora_down.weight": torch.zeros(3, 8)}, "differ in rank"),
        ({"lora_up.weight": torch.zeros(8, 2)}, "no kind of LoRA"),
        ({"lora_up.weight": torch.zeros(8), "lora_down.weight": torch.zeros(3, 8)}, "matrices"),
        (linear(1, 1, MAX_RANK + 1), "a rank of"),
        (linear(1, 1, 1) | {"lora_up.weight": torch.zeros(1, 0), "lora_down.weight": torch.zeros(0, 1)}, "a rank of 0"),
        (linear() | {"alpha": torch.ones(2)}, "one number"),
        (linear() | {"lokr_w1": torch.ones(2, 2)}, "no kind of LoRA"),
        (linear() | {"lora_up.weight": torch.full((32, 2), torch.nan)}, "NaN"),
        (linear() | {"alpha": torch.tensor(torch.inf)}, "infinity"),
        ({"oft_blocks": torch.zeros(3, 4, 3, 3)}, "BOFT"),
        ({"oft_blocks": torch.zeros(3, 4, 5)}, "square"),
        ({"oft_blocks": torch.full((1, 3, 3), 1e20).triu()}, "too large to make rotations"),
        ({"oft_blocks": torch.tensor([[[0, 3e38], [-3e38, 0]]])}, "too large to make rotations"),
        ({"oft_blocks": torch.tensor([[[[0, 3e38], [-3e38, 0]]]])}, "too large to make rotations"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(
    parts: dict[str, torch.Tensor], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(BadFile, match=reason):
        load_lora(written(tmp_path / "a.safetensors", **{TO_Q: parts}))


SHAPES = st.lists(st.sampled_from([4, 2, 8, 1, 0]), max_size=4)


@st.composite
def shapes_of_a_layer(draw: st.DrawFn) -> dict[str, list[int]]:
    """A kind's parts, likely but not sure to belong together, and perhaps one that modifies them."""
    kind = draw(st.sampled_from(KINDS))
    likely = draw(st.sampled_from([[4, 4], [4, 4, 1, 1], [2, 2, 2], [2, 4, 2, 2], [4]]))
    parts = {name: draw(st.one_of(st.just(likely), st.just(likely), SHAPES)) for name in sorted(kind.takes)}
    parts.pop(draw(st.sampled_from(["", *parts])), None)
    return parts | draw(st.dictionaries(st.sampled_from(sorted(MODIFIERS)), st.just([1]) | SHAPES, max_size=1))


@settings(max_examples=600, deadline=None)
@given(shapes_of_a_layer())
def test_whatever_the_shapes_a_layer_is_read_or_refused(shapes: dict[str, list[int]]) -> None:
    """Never another error, and a layer that says it fits a weight has a difference for it."""
    parts = {name: torch.ones(shape) for name, shape in shapes.items()}
    try:
        layer = Layer.from_parts(parts)
    except Misshapen:
        return
    for shape in ((4, 4), (8, 8), (8, 4), (4, 4, 1, 1), (16, 16), (4, 9, 1, 1), (4,)):
        weight = torch.ones(shape)
        if layer.change is not None and layer.fits(weight.shape, bias=None):
            assert layer.weight_delta(weight, 0.5, None).shape == weight.shape
