"""The imports give way to the page, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.engine import quiet
from modules.engine.quiet import import_quietly

MODULE = "import os, threading\nNICE = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())\n"
linux = pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads")


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Two modules that note the priority at which they are imported."""
    names = ("quiet_first", "quiet_second")
    for name in names:
        (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield names
    for name in names:
        sys.modules.pop(name, None)


@linux
def test_imports_run_at_the_lowest_priority_and_the_caller_keeps_its_own(modules: tuple[str, str]) -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    import_quietly(modules, threading.Event())
    assert [sys.modules[name].NICE for name in modules] == [19, 19]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


@linux
def test_imports_left_when_the_page_has_loaded_run_at_full_speed(modules: tuple[str, str], tmp_path: Path) -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    full_speed = threading.Event()
    (tmp_path / "quiet_first.py").write_text(MODULE + "import quiet_hook; quiet_hook.event.set()\n")
    sys.modules["quiet_hook"] = type(sys)("quiet_hook")
    sys.modules["quiet_hook"].event = full_speed  # type: ignore[attr-defined]
    try:
        import_quietly(modules, full_speed)
    finally:
        del sys.modules["quiet_hook"]
    assert [sys.modules[name].NICE for name in modules] == [19, before]


def test_an_import_that_fails_is_heard_of() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_quietly(("no_such_module",), threading.Event())


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_elsewhere_the_process_is_put_back_when_the_page_has_loaded(
    platform: str, monkeypatch: pytest.MonkeyPatch, modules: tuple[str, str]
) -> None:
    calls: list[str] = []
    full_speed, restored = threading.Event(), threading.Event()

    def restore() -> None:
        calls.append("restore")
        restored.set()

    monkeypatch.setattr(quiet.sys, "platform", platform)
    monkeypatch.setattr(quiet, "_process_priority", lambda name: (lambda: calls.append(f"lower {name}"), restore))
    with quiet._background(full_speed):
        full_speed.set()
        assert restored.wait(60)
    assert calls == [f"lower {platform}", "restore", "restore"]


def test_the_worker_imports_ahead_all_that_a_job_needs(tmp_path: Path) -> None:
    """Else the first picture would wait for imports after the worker has said that it is ready."""
    root = Path(__file__).parents[2]
    script = """
import importlib, sys
from modules.engine.__main__ import IMPORTS
for name in IMPORTS: importlib.import_module(name)
before = set(sys.modules)
from modules.models import load
load("tests/data/golden/model/tiny_sd1.safetensors")
late = {name for name in set(sys.modules) - before if name.split(".")[0] in ("diffusers", "transformers")}
print(sorted(late))
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
