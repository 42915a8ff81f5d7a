"""An A1111 installation is used where it lies, and stays as it was."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.serving import GOLDEN, Served, serve

KINDS = ("checkpoint", "vae", "lora", "hypernetwork", "embedding")
FILES = {
    "model/tiny_sd1.safetensors": "models/Stable-diffusion/mine/old.safetensors",
    "lora/lin.safetensors": "models/Lora/style/ink.safetensors",
    "hypernetworks/h_relu4.pt": "models/hypernetworks/deep.pt",
    "embeddings/ti.safetensors": "embeddings/word.safetensors",
}
TEXTS = {
    "config.json": '{"sd_model_checkpoint": "gone.ckpt", "outdir_txt2img_samples": "elsewhere"}',
    "ui-config.json": "{}",
    "styles.csv": "name,prompt,negative_prompt\nfilm,grainy,\n",
    "cache.json": "{}",
    "params.txt": "a cat\nSteps: 20",
    "log/images/log.csv": "prompt,seed\n",
    "extensions/other/scripts/run.py": "raise SystemExit",
    "models/Lora/style/ink.json": '{"activation text": "inky", "preferred weight": 0.7}',
    "models/VAE/Put VAE here.txt": "",
    "venv/pyvenv.cfg": "version = 3.10.6",
}
PICTURES = ("models/Lora/style/ink.preview.png", "embeddings/word.png", "outputs/txt2img-images/2023-01-01/00000-1.png")
OURS = ("outputs", "elsewhere", "tagbrush.db", "tagbrush-index.db", "server.log")
"""What may be written: pictures, also where config.json puts them (D063), and our own files."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, target in FILES.items():
        place(tmp_path / target)
        shutil.copy(GOLDEN / name, tmp_path / target)
    for name, text in TEXTS.items():
        place(tmp_path / name).write_text(text, encoding="utf-8")
    for name in PICTURES:
        Image.effect_noise((900, 900), 90).save(place(tmp_path / name))
    return tmp_path


@pytest.fixture
def before(folder: Path) -> dict[str, str]:
    return state(folder)


@pytest.fixture
def served(folder: Path, before: dict[str, str]) -> Iterator[Served]:
    with serve(folder, "--device", "cpu") as served:
        yield served


def test_nothing_but_outputs_and_our_files_is_altered(served: Served, before: dict[str, str]) -> None:
    # R008: config.json and what it holds of other programs are as they were after options were changed
    for kind in KINDS:
        for card in served.get(f"/tagbrush/v1/catalogue/{kind}")["items"]:
            served.get(f"/tagbrush/v1/catalogue/{kind}/{card['id']}")
            if card["preview"]:
                served.read(card["preview"])
    assert served.post("/sdapi/v1/refresh-loras", {}) is None
    served.post("/sdapi/v1/options", {"sd_model_checkpoint": "old", "CLIP_stop_at_last_layers": 2})
    request = {"prompt": "word <lora:ink:0.5><hypernet:deep:1>", "width": 64, "height": 64, "steps": 2}
    assert served.post("/sdapi/v1/txt2img", request | {"save_images": True})["images"]
    after = state(served.data)
    assert before.items() <= after.items()
    assert [name for name in after if name.startswith("elsewhere/") and name.endswith(".png")]
    assert [name for name in after.keys() - before.keys() if not name.startswith(OURS)] == []
    assert len([name for name in after.keys() - before.keys() if name.endswith(".png")]) == 1


def place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def state(folder: Path) -> dict[str, str]:
    """Every path below the folder; of files with their contents' hash and the time of their last change."""
    return {path.relative_to(folder).as_posix(): _state(path) for path in sorted(folder.rglob("*"))}


def _state(path: Path) -> str:
    if path.is_dir():
        return "folder"
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
