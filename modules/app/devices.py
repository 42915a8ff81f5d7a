"""Which devices the workers compute on, and how they share the processor; found out without loading PyTorch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

_SECONDS_FOR_NVIDIA_SMI = 5.0
_DEVICE_NODES = Path("/dev")
_HAS_CUDA = re.compile(r"^cuda\b[^=]*=\s*['\"]", re.MULTILINE)
_CARD = re.compile(r"^GPU \d+:", re.MULTILINE)
_SLICE = re.compile(r"^\s+MIG ", re.MULTILINE)


def devices_found(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A device for each worker: every CUDA card, or, where there are not several, what a worker finds by itself."""
    if not _torch_has_cuda():
        return ("auto",)
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    count = _visible(chosen) if chosen is not None else _cards()
    return tuple(f"cuda:{number}" for number in range(count)) if count > 1 else ("auto",)


def shared_threads(workers: int, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that give each of several workers its share of the cores, unless `environ` says how many it has."""
    if workers < 2 or "OMP_NUM_THREADS" in environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, _cores() // workers))}


def _torch_has_cuda() -> bool:
    """Whether the PyTorch that the workers will load was built for CUDA."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        return bool(_HAS_CUDA.search(Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")))
    except OSError:
        return False


def _visible(chosen: str) -> int:
    """How many cards CUDA shows: those of the list up to the first that cannot be one."""
    names = [name.strip() for name in chosen.split(",")]
    real = [name for name in names if name]
    stop = next((place for place, name in enumerate(names) if not name or name.startswith("-")), len(real))
    return 1 if any(name.startswith("MIG") for name in real[:stop]) else stop


def _cards() -> int:
    """How many cards the driver tells of; one where they are cut into slices, of which a process sees one alone."""
    if sys.platform == "linux" and len(list(_DEVICE_NODES.glob("nvidia[0-9]*"))) < 2:
        return 1  # asking the driver takes a moment, and the page waits
    program = shutil.which("nvidia-smi")
    if program is None:
        return 1
    try:
        said = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=_SECONDS_FOR_NVIDIA_SMI, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 1
    return 1 if _SLICE.search(said) else len(_CARD.findall(said))


def _cores() -> int:
    """The processors that this program may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
