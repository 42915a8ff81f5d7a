"""Loading takes little more memory than the weights themselves, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models import small
from tests.models.small import FAMILIES

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "tests" / "bench" / "loading.py"
LIMIT = 1.15
"""Times the weights in the type they are loaded in: the peak of resident memory, mapped pages of the file included."""

LARGE = replace(
    FAMILIES["sdxl"], widths=(320, 512, 896), layers=2, depth=(1, 1, 2), text_width=512, text_heads=8, text_2_width=640
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is in memory")
@pytest.mark.parametrize("form", ["safetensors", "ckpt"])
@pytest.mark.parametrize(("stored", "loaded"), [("float16", "float32"), ("float32", "float32"), ("float16", "float16")])
def test_the_peak_is_at_most_the_weights_and_a_little(form: str, stored: str, loaded: str, tmp_path: Path) -> None:
    path = tmp_path / f"large.{form}"
    small.write(path, LARGE, dtype=getattr(torch, stored))
    done = subprocess.run(
        [sys.executable, BENCH, "--child", "measure", "tagbrush", path, loaded],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    assert measured["weights"] > 3e8
    assert measured["peak"] <= LIMIT, measured
