"""A data folder with whole files and with every kind of broken, foreign and hostile one."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.serving import GOLDEN

TRAP = "the trap was sprung"
"""The folder that appears in the data folder when any file's code is run."""

LORAS = ("lin", "locon", "loha", "dora", "lokr", "oft_diag", "bundle", "norm")
EMBEDDINGS = ("ti.safetensors", "tipt3.pt", "tibin2d.bin", "wrongdim.safetensors", "xlstyle.safetensors")
LIKE_LIN = ("two words", "dots. and (brackets) [v1.2]", "naïve 猫 🍎", "a=b", "comma, colon", "UPPER", "in a folder")
"""Names of copies of `lin`; the last one lies in a sub-folder."""

HYPERNETWORKS = ("h_relu4", "h_swish", "h_mish_out")


def furnish(data: Path) -> None:
    """Fill a data folder: the reference checkpoint with its networks, and files that cannot be used beside them."""
    checkpoints, loras = data / "models" / "Stable-diffusion", data / "models" / "Lora"
    hypernetworks, embeddings = data / "models" / "hypernetworks", data / "embeddings"
    for folder in (checkpoints, loras, hypernetworks, embeddings):
        folder.mkdir(parents=True)
    for name in ("tiny_sd1.safetensors", "tiny_sd1.yaml"):
        shutil.copy(GOLDEN / "model" / name, checkpoints)
    for name in LORAS:
        shutil.copy(GOLDEN / "lora" / f"{name}.safetensors", loras)
    for name in LIKE_LIN:
        folder = loras / "styles" if name == LIKE_LIN[-1] else loras
        folder.mkdir(exist_ok=True)
        shutil.copy(GOLDEN / "lora" / "lin.safetensors", folder / f"{name}.safetensors")
    for folder, name in (("a", "lin"), ("b", "locon")):
        (loras / folder).mkdir()
        shutil.copy(GOLDEN / "lora" / f"{name}.safetensors", loras / folder / "twin.safetensors")
    for name in EMBEDDINGS:
        shutil.copy(GOLDEN / "embeddings" / name, embeddings)
    for name in HYPERNETWORKS:
        shutil.copy(GOLDEN / "hypernetworks" / f"{name}.pt", hypernetworks)

    halve_vae(checkpoints / "tiny_sd1.safetensors", data / "models" / "VAE" / "half.safetensors")
    vaes = data / "models" / "VAE"
    cut(vaes / "half.safetensors", vaes / "cutvae.safetensors")
    (vaes / "codevae.pt").write_bytes(code(data))
    cut(checkpoints / "tiny_sd1.safetensors", checkpoints / "cutmodel.safetensors")
    cut(loras / "lin.safetensors", loras / "cutlora.safetensors")
    cut(loras / "lin.safetensors", loras / "cuthead.safetensors", 100)
    cut(embeddings / "ti.safetensors", embeddings / "cutword.safetensors")
    cut(embeddings / "tipt3.pt", embeddings / "cutpt.pt")
    cut(hypernetworks / "h_relu4.pt", hypernetworks / "cutnet.pt")
    for path in (
        checkpoints / "zipmodel.ckpt",
        loras / "ziplora.pt",
        embeddings / "zipword.pt",
        hypernetworks / "zipnet.pt",
    ):
        path.write_bytes(a_zip({"readme.txt": b"hello"}))
    for path in (
        checkpoints / "codemodel.ckpt",
        loras / "codelora.pt",
        embeddings / "codeword.pt",
        hypernetworks / "codenet.pt",
    ):
        path.write_bytes(a_zip({"archive/data.pkl": code(data), "archive/version": b"3\n"}))
    (loras / "codeplain.pt").write_bytes(code(data))
    (hypernetworks / "empty.pt").write_bytes(b"")
    shutil.copy(loras / "lin.safetensors", checkpoints / "loramodel.safetensors")
    os.link(checkpoints / "tiny_sd1.safetensors", checkpoints / "yamlmodel.safetensors")
    (checkpoints / "yamlmodel.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{(data / TRAP).as_posix()}']")
    (loras / "lin.json").write_bytes(b'{"description": \xff\xfe')
    (loras / "locon.json").write_text('{"description": [1], "preferred weight": "much", "activation text": {"a": 1}}')
    (loras / "lin.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (loras / "locon.png").write_bytes(b"")
    save_file(sdxl_lora(), loras / "sdxl.safetensors", {"ss_base_model_version": "sdxl_base_v1-0"})
    save_file(sdxl_lora(), loras / "sdxlsilent.safetensors")


def halve_vae(checkpoint: Path, path: Path) -> None:
    """A file with the checkpoint's VAE alone, which paints at half the contrast."""
    prefix = "first_stage_model."
    tensors = {name.removeprefix(prefix): tensor for name, tensor in load_file(checkpoint).items() if prefix in name}
    tensors["decoder.conv_out.weight"] = tensors["decoder.conv_out.weight"] / 2
    path.parent.mkdir(parents=True)
    save_file(tensors, path)


def cut(whole: Path, path: Path, length: int | None = None) -> None:
    """The first bytes of a file, half of them if not said otherwise: a download that broke off."""
    content = whole.read_bytes()
    path.write_bytes(content[: length or len(content) // 2])


def a_zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.path),)


def code(data: Path) -> bytes:
    """A pickle that runs code in whoever loads it."""
    return pickle.dumps({"state_dict": {"weight": _Trap(data / TRAP)}}, protocol=2)


def sdxl_lora() -> dict[str, np.ndarray]:
    """A LoRA in kohya's layout for one cross-attention of SDXL and one layer of its second text encoder."""
    block = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    text = "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"
    sizes = {block: (640, 2048), text: (1280, 1280)}
    tensors = {}
    for name, (rows, columns) in sizes.items():
        tensors[f"{name}.lora_down.weight"] = np.full((4, columns), 0.01, np.float32)
        tensors[f"{name}.lora_up.weight"] = np.full((rows, 4), 0.01, np.float32)
        tensors[f"{name}.alpha"] = np.array(4, np.float32)
    return tensors


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
