"""How long a library of networks takes to open: `python tests/bench/catalogue.py [files]`.

Makes LoRA files with headers of the usual size (723 tensors, 20 KB of tag statistics) whose weights are a hole
in the file, a preview and a sidecar beside each, in 50 folders; opens a catalogue over them, cold and warm, and
searches it.
The system's file cache is warm in every case. Figures are seconds.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from modules.catalogue import Catalogue, Folders
from modules.images import encode

FOLDERS = 50
REPEATS = 5


def header() -> tuple[bytes, int]:
    """A kohya LoRA's header for SD 1.x, and the size of its weights."""
    entries: dict[str, object] = {}
    place = 0
    for number in range(241):
        for part, shape in (("lora_down.weight", [16, 768]), ("lora_up.weight", [768, 16]), ("alpha", [])):
            size = 2 * 16 * 768 if shape else 2
            name = f"lora_unet_up_blocks_3_attentions_{number}_transformer_blocks_0_attn2_to_k.{part}"
            entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [place, place + size]}
            place += size
    tags = {"set": {f"tag number {number}": number for number in range(800)}}
    entries["__metadata__"] = {"ss_base_model_version": "sd_v1", "ss_tag_frequency": json.dumps(tags)}
    return json.dumps(entries).encode(), place


def make_library(root: Path, files: int) -> None:
    """The files, previews and sidecars."""
    text, size = header()
    picture, _ = encode(Image.effect_noise((64, 96), 50).convert("RGB"), "")
    for number in range(files):
        folder = root / f"style {number % FOLDERS}"
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / f"network number {number}"
        with open(f"{stem}.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + size)
        Path(f"{stem}.preview.png").write_bytes(picture)
        Path(f"{stem}.json").write_text(json.dumps({"description": f"Number {number}", "activation text": "ink"}))


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main(files: int) -> None:
    """Measure, and write one line per figure."""
    with tempfile.TemporaryDirectory() as name:
        folders = Folders.from_args(shipped=Path(name) / "program", data_dir=Path(name))
        report = [("library made", seconds(lambda: make_library(folders.loras[0], files)))]
        with Catalogue(folders, folders.index) as cold:
            report.append(("cold: names listed", seconds(lambda: cold.entries("lora"))))
            report.append(("cold: all examined, from then on", seconds(lambda: cold.refresh("lora", patience=None))))
        with Catalogue(folders, folders.index) as warm:
            report.append(("warm: all there", seconds(lambda: warm.entries("lora"))))
            report.append(("first page by name", seconds(lambda: warm.search("lora", sort="name", limit=100))))
            pages = [seconds(lambda: warm.search("lora", "number 7", sort="name", limit=100)) for _ in range(REPEATS)]
            report.append((f"search page, median of {REPEATS}", sorted(pages)[REPEATS // 2]))
            report.append(("refresh, nothing new", seconds(lambda: warm.refresh("lora"))))
            report.append(("find by name", seconds(lambda: warm.find("lora", "network number 77"))))
        size = os.path.getsize(folders.index)
    sys.stdout.write(f"{files} files, index of {size / 2**20:.1f} MiB\n")
    sys.stdout.writelines(f"{what:35} {figure:8.3f}\n" for what, figure in report)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
