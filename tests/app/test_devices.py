"""There is a worker for each card, and several workers share the processor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modules.app import devices
from modules.app.devices import devices_found, shared_threads
from modules.app.options import BadFlag, parse

TWO = ("cuda:0", "cuda:1")
CARDS = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\nGPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)\n"
SLICES = "GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-1)\nGPU 1: NVIDIA A100 (UUID: GPU-2)\n"


@pytest.fixture
def torch_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What has the installed PyTorch be one for this CUDA."""

    def install(cuda: str) -> None:
        package = tmp_path / "torch"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "version.py").write_text(f"from typing import Optional\n\n__version__ = '2.9'\n{cuda}\n")
        spec = type("Spec", (), {"origin": str(package / "__init__.py")})
        monkeypatch.setattr(devices, "find_spec", lambda name: spec)

    return install


def drive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, nodes: int) -> None:
    """Have a driver that shows so many cards, and a program that says this."""
    for number in range(nodes):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}END\n")
    program.chmod(0o755)
    monkeypatch.setattr(devices, "_DEVICE_NODES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("0,1", TWO),
        ("3, GPU-8932f937", TWO),
        ("0,1,-1,2", TWO),
        ("0", ("auto",)),
        ("", ("auto",)),
        ("-1", ("auto",)),
        ("MIG-1,MIG-2", ("auto",)),
    ],
)
def test_each_visible_card_has_a_worker(torch_for: Callable[[str], None], visible: str, found: tuple[str, ...]) -> None:
    torch_for("cuda: Optional[str] = '12.8'")
    assert devices_found({"CUDA_VISIBLE_DEVICES": visible}) == found


@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux' device files")
@pytest.mark.parametrize(
    ("said", "nodes", "found"), [(CARDS, 2, TWO), (CARDS, 1, ("auto",)), (CARDS, 0, ("auto",)), (SLICES, 2, ("auto",))]
)
def test_without_a_choice_the_driver_is_asked(
    torch_for: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    said: str,
    nodes: int,
    found: tuple[str, ...],
) -> None:
    torch_for("cuda: str = '12.8'")
    drive(monkeypatch, tmp_path, said, nodes)
    assert devices_found({}) == found


def test_cards_are_of_no_use_to_a_torch_without_cuda(torch_for: Callable[[str], None]) -> None:
    torch_for("cuda: Optional[str] = None")
    assert devices_found({"CUDA_VISIBLE_DEVICES": "0,1"}) == ("auto",)


def test_a_driver_that_does_not_answer_is_passed_over(
    torch_for: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_for("cuda = '11.8'")

    def fail(*given: object, **named: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(subprocess, "run", fail)
    assert devices_found({}) == ("auto",)


def test_several_workers_share_the_cores_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cores", lambda: 8)
    assert shared_threads(2, {}) == {"OMP_NUM_THREADS": "4"}
    assert shared_threads(16, {}) == {"OMP_NUM_THREADS": "1"}
    assert shared_threads(1, {}) == {}
    assert shared_threads(2, {"OMP_NUM_THREADS": "3"}) == {}


def test_the_workers_devices_can_be_named() -> None:
    assert parse(["--devices", "CUDA:0, cuda:1,cpu"], {}).devices == ("cuda:0", "cuda:1", "cpu")
    assert parse([], {}).devices == ()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--devices", "cpu,"], '"" is unknown'),
        (["--devices", "cpu,gpu"], "auto, cpu, cuda, mps, xpu"),
        (["--devices", "cuda:"], "cuda:"),
        (["--devices", "cpu,cpu", "--device", "cpu"], "Leave out --device"),
        (["--devices", "cuda:0,cuda:1", "--device-id", "1"], "Leave out --device"),
    ],
)
def test_devices_that_cannot_be_are_refused_in_words(argv: list[str], words: str) -> None:
    with pytest.raises(BadFlag, match=words):
        parse(argv, {})
