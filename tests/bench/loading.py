"""How long loading a full-size checkpoint takes and how much memory at its peak, beside diffusers' from_single_file.

    python tests/bench/loading.py [--runs 3] [--family sd1|sdxl]

The weights are random, of SD 1.5's (or SDXL's) names and shapes; each load is a process of its own, the engines by
turns, and the file lies in the system's cache. Memory counts from when the libraries are imported. "Peak" is the
system's own high-water mark of resident memory (VmHWM), pages of the mapped file included; "anonymous" is the part of
it that belongs to the process alone, the highest of samples taken every 5 ms. Where the types of file and weights
agree, diffusers leaves the weights in the mapped file, to be read when they are used, and changed when the file is
written to; Tagbrush has them in memory of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
CASES = {"sd1": (("float16", "float32"), ("float32", "float32"), ("float16", "float16")), "sdxl": (("float16",) * 2,)}
ENGINES = ("tagbrush", "diffusers")
CLIP = "cond_stage_model.transformer.text_model."


# In the process that measures


def measure(engine: str, file: Path, dtype_name: str) -> dict[str, float]:
    """Seconds and bytes of one load; the libraries are there before the clock starts."""
    import torch

    load = {"tagbrush": _tagbrush, "diffusers": _diffusers}[engine]()
    dtype = getattr(torch, dtype_name)
    before = _status("VmRSS")
    anonymous_before = _status("RssAnon")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark begins anew
    with _sampled("RssAnon") as samples:
        began, worked = time.perf_counter(), time.process_time()
        networks = load(file, dtype)
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
    weights = sum(weight.nbytes for network in networks for weight in network.parameters())
    return {
        "seconds": seconds,
        "cpu": worked,
        "peak": (_status("VmHWM") - before) / weights,
        "anonymous": (max(samples) - anonymous_before) / weights,
        "end": (_status("VmRSS") - before) / weights,
        "weights": weights,
    }


def _tagbrush() -> Callable[..., Any]:
    import diffusers.models  # noqa: F401
    from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel  # noqa: F401

    from modules.models import load

    def run(file: Path, dtype: Any) -> list[Any]:
        model = load(file, dtype=dtype)
        return [model.unet, model.vae, *model.encoders.values()]

    return run


def _diffusers() -> Callable[..., Any]:
    """diffusers' loader of each network, given its configuration, since it would ask the network for it otherwise."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import (
        create_diffusers_clip_model_from_ldm,
        load_single_file_checkpoint,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    def run(file: Path, dtype: Any) -> list[Any]:
        configs = file.parent / "configs"
        told = {"config": str(configs), "torch_dtype": dtype, "local_files_only": True}
        networks = [
            UNet2DConditionModel.from_single_file(str(file), subfolder="unet", **told),
            AutoencoderKL.from_single_file(str(file), subfolder="vae", **told),
        ]
        checkpoint = load_single_file_checkpoint(str(file))
        classes = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
        for name, kind in classes.items():
            if (configs / name).is_dir():
                networks.append(
                    create_diffusers_clip_model_from_ldm(
                        kind, checkpoint, subfolder=name, config=str(configs), torch_dtype=dtype, local_files_only=True
                    )
                )
        return networks

    return run


def _status(key: str) -> int:
    """Bytes of memory as the kernel counts them."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


@contextmanager
def _sampled(key: str) -> Iterator[list[int]]:
    samples, over = [_status(key)], threading.Event()

    def sample() -> None:
        while not over.wait(0.005):
            samples.append(_status(key))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()
        samples.append(_status(key))


# In the process that compares


def write_checkpoint(folder: Path, family: str, dtype_name: str) -> Path:
    """A full-size checkpoint of random weights, and the configurations that diffusers wants beside it."""
    import torch
    from safetensors.torch import save_file

    from tests.models import full

    networks = full.networks(family)
    torch.manual_seed(0)
    shapes = full.original_shapes(family, networks)
    dtype = getattr(torch, dtype_name)
    tensors = {name: torch.empty(shape, dtype=dtype).uniform_(-0.02, 0.02) for name, shape in shapes.items()}
    file = folder / f"{family}-{dtype_name}.safetensors"
    save_file(tensors, file)
    full.write_configs(folder / "configs", family, networks)
    return file


def compare(family: str, runs: int, threads: int) -> Iterator[tuple[str, str, str, dict[str, float]]]:
    for file_dtype, dtype in CASES[family]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{family}-{file_dtype}.safetensors"
            _run("write", family, file_dtype, folder, threads=threads)
            found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
            for _ in range(runs):
                for engine in ENGINES:
                    found[engine].append(json.loads(_run("measure", engine, str(file), dtype, threads=threads)))
        for engine, all_runs in found.items():
            middle = {key: statistics.median(run[key] for run in all_runs) for key in all_runs[0]}
            yield engine, file_dtype, dtype, middle


def _run(*arguments: str, threads: int) -> str:
    command = [sys.executable, __file__, "--child", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--family", choices=CASES, default="sd1")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        task, *rest = options.child
        if task == "write":
            write_checkpoint(Path(rest[2]), rest[0], rest[1])
        else:
            sys.stdout.write(json.dumps(measure(rest[0], Path(rest[1]), rest[2])) + "\n")
        return
    table = Table(
        "engine", "file", "loaded as", "weights", "seconds", "CPU s", "peak / weights", "anonymous", "at the end"
    )
    for engine, file_dtype, dtype, found in compare(options.family, options.runs, options.threads):
        table.add_row(
            engine,
            file_dtype,
            dtype,
            f"{found['weights'] / MIB:,.0f} MiB",
            f"{found['seconds']:.2f}",
            f"{found['cpu']:.2f}",
            *(f"{found[key]:.3f}" for key in ("peak", "anonymous", "end")),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
