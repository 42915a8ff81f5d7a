"""The device asked for, or words that say why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modules.engine import device, memory
from modules.engine.device import NoDevice, choose_device, describe


def have(monkeypatch: pytest.MonkeyPatch, **counts: int) -> None:
    monkeypatch.setattr(device, "count", lambda name: counts.get(name, 0))


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({}, "cpu"),
        ({"cuda": 2, "xpu": 1, "mps": 1}, "cuda"),
        ({"xpu": 1, "mps": 1}, "xpu"),
        ({"mps": 1}, "mps"),
    ],
)
def test_auto_takes_the_fastest_there_is(there: dict[str, int], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, cpu=1, **there)
    assert choose_device("auto") == torch.device(chosen)


def test_a_device_can_be_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, cpu=1, cuda=2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(NoDevice, match="cuda has 2, counted from 0"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "mps", "xpu"])
def test_a_device_that_is_not_there_is_refused_with_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, cpu=1)
    with pytest.raises(NoDevice, match=f"Device {name} is not there: .* Use --device auto"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "cpu:0:1"])
def test_an_unknown_device_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(NoDevice, match="auto, cpu, cuda, mps, xpu"):
        choose_device(name)


def test_the_device_is_described_for_a_person() -> None:
    assert describe(torch.device("cpu")) == "CPU"


def test_running_out_of_main_memory_is_said_with_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """R005."""
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:       16777216 kB\nMemFree:  100 kB\nMemAvailable:    3145728 kB\n", encoding="ascii")
    monkeypatch.setattr(device, "_MEMORY_FILE", file)
    assert "(3.0 of 16.0 GiB are free)" in memory.explain(MemoryError(), torch.device("cpu"))
    file.write_text("nothing of the kind", encoding="ascii")
    assert "Out of memory on CPU. Make" in memory.explain(MemoryError(), torch.device("cpu"))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("CUDA out of memory. Tried to allocate 20.50 GiB. GPU 0 has a total capacity of 23.64 GiB", "20.5 GiB more"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1048576 bytes. Error code 12", "1.0 MiB"),
        (
            "MPS backend out of memory (MPS allocated: 1.2 GB). Tried to allocate 256.00 MiB on private pool",
            "256.0 MiB",
        ),
    ],
)
def test_what_was_needed_is_told_as_far_as_it_is_known(said: str, told: str) -> None:
    # R005
    assert told in memory.explain(RuntimeError(said), torch.device("cpu"))
    assert "needed" not in memory.explain(RuntimeError("out of memory"), torch.device("cpu"))
