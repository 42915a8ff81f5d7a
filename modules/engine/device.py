"""Which device makes the pictures."""

from __future__ import annotations

from pathlib import Path

import torch

from modules.params import TagbrushError

KNOWN = ("auto", "cpu", "cuda", "mps", "xpu")
_MEMORY_FILE = Path("/proc/meminfo")
_BEST_FIRST = ("cuda", "xpu", "mps")


class NoDevice(TagbrushError):
    """A device that this machine or this PyTorch does not have."""


def choose_device(wanted: str) -> torch.device:
    """The device called `wanted`; `auto` takes the fastest there is. Raises NoDevice."""
    if wanted == "auto":
        return torch.device(next((name for name in _BEST_FIRST if count(name)), "cpu"))
    name, _, number = wanted.partition(":")
    if name not in KNOWN or not (number.isdigit() or number == ""):
        raise NoDevice(f'Device "{wanted}" is unknown. Use --device with one of: {", ".join(KNOWN)}.')
    there = count(name)
    if not there:
        raise NoDevice(f"Device {name} is not there: {_why_not(name)} Use --device auto, or --device cpu.")
    if number and int(number) >= there:
        raise NoDevice(f"Device {wanted} is not there: {name} has {there}, counted from 0.")
    return torch.device(wanted)


def make_default(device: torch.device) -> None:
    """Have what names no card use this one, so that a worker of the second leaves nothing on the first."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def count(name: str) -> int:
    """How many devices of this type there are."""
    if name == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "xpu":
        return torch.xpu.device_count() if torch.xpu.is_available() else 0
    if name == "mps":
        return int(torch.backends.mps.is_available())
    return 1


def describe(device: torch.device) -> str:
    """The device for a person: "NVIDIA H100 80GB HBM3 (cuda)"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    if device.type == "xpu":
        return f"{torch.xpu.get_device_name(device)} ({device})"
    return "Apple GPU (mps)" if device.type == "mps" else "CPU"


def memory(device: torch.device) -> tuple[int, int] | None:
    """Free and total bytes of the device, where it tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)
    if device.type == "xpu":
        return torch.xpu.mem_get_info(device)
    return _main_memory() if device.type == "cpu" else None


def _main_memory() -> tuple[int, int] | None:
    """What programs can still have of the main memory, and all of it; None where the system is not Linux."""
    try:
        lines = _MEMORY_FILE.read_text(encoding="ascii").splitlines()
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return kib["MemAvailable"] * 1024, kib["MemTotal"] * 1024
    except (OSError, LookupError, ValueError):
        return None


def _why_not(name: str) -> str:
    if name == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        return f"this PyTorch ({torch.__version__}) was built without it."
    if name == "mps" and not torch.backends.mps.is_built():
        return f"this PyTorch ({torch.__version__}) was built without it."
    return "no such hardware, or no driver for it, was found."
