"""Small files of every kind, for the tests of the catalogue."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

Shapes = Mapping[str, Sequence[int]]

SD1 = {
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (4, 768),
    "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (1, 768),
}
LORA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (2, 768),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (4, 2),
}
EMBEDDING = {"emb_params": (3, 768)}


def write_tensors(path: Path, shapes: Shapes, metadata: Mapping[str, str] | None = None, fill: bytes = b"\0") -> Path:
    """A .safetensors file of F16 tensors."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + fill * place)
    return path


def text(value: str) -> bytes:
    """The instructions that push a text."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor(*shape: int) -> bytes:
    """The instructions that rebuild a F32 tensor, as torch.save writes them."""
    count = b"J" + struct.pack("<i", max(1, *shape))
    lengths = b"(" + b"".join(b"J" + struct.pack("<i", length) for length in shape) + b"t"
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + count + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + lengths + lengths + b"\x89NtR"


def archived(path: Path, instructions: bytes) -> Path:
    """A file laid out as torch.save does, of a pickle given by its instructions."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + instructions + b".")
    return path
