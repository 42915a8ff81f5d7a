"""`webui.py txt2img`: the picture that the API makes of the same words, with a server and without."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from rich.console import Console

from modules.app.commands import main
from tests.serving import GOLDEN, ROOT, START

from .conftest import SMALL, Program

WORDS = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
MODEL = ["--settings", "sd_model_checkpoint=tiny_sd1"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", START, *words]


def text_of(path: Path) -> str:
    with Image.open(path) as image:
        return image.info["parameters"]


def pixels(file: bytes) -> bytes:
    return Image.open(io.BytesIO(file)).convert("RGB").tobytes()


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A data folder without a server, with the reference model."""
    models = tmp_path / "data" / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    shutil.copy(GOLDEN / "model" / "tiny_sd1.safetensors", models)
    return tmp_path / "data"


def test_a_command_has_the_running_server_make_what_the_api_makes(
    shared: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cat.png"
    console = Console(file=io.StringIO())
    assert main(["txt2img", "a cat", *WORDS, "--data-dir", str(shared.data), "-o", str(out), "--json"], console) == 0
    told = json.loads(capsys.readouterr().out)
    job = shared.make("a cat")
    assert told["pictures"][0]["infotext"] == text_of(out) == job["pictures"][0]["infotext"]
    assert pixels(out.read_bytes()) == pixels(shared.files(job)[0])


def test_a_command_redraws_a_picture_as_the_api_does(
    shared: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, out = tmp_path / "start.png", tmp_path / "lemon.jpg"
    Image.new("RGB", (64, 64), "orange").save(start)
    words = ["img2img", "a lemon", *WORDS, "--init", str(start), "--denoising-strength", "0.5"]
    assert main([*words, "--url", shared.served.url, "-o", str(out)], Console(file=io.StringIO())) == 0
    stored = shared.http.post("/tagbrush/v1/inputs", content=start.read_bytes()).json()
    job = shared.make("a lemon", init_images=[stored["id"]], denoising_strength=0.5)
    with Image.open(out) as image:
        assert image.format == "JPEG"
    read = shared.http.post("/tagbrush/v1/infotext/read", content=out.read_bytes()).json()
    assert read["text"] == job["pictures"][0]["infotext"]
    capsys.readouterr()


@pytest.mark.slow
def test_a_command_makes_the_same_picture_without_a_server(shared: Program, own_folder: Path, tmp_path: Path) -> None:
    words = [
        "txt2img",
        "a cat",
        *WORDS,
        *MODEL,
        "--data-dir",
        str(own_folder),
        "--device",
        "cpu",
        "--json",
        "-o",
        "a.png",
    ]
    done = subprocess.run(command(*words), cwd=tmp_path, env=_found(), capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert (tmp_path / "a.png").is_file() and told["state"] == "done"
    job = shared.make("a cat")
    assert told["pictures"][0]["infotext"] == text_of(tmp_path / "a.png") == job["pictures"][0]["infotext"]
    assert pixels((tmp_path / "a.png").read_bytes()) == pixels(shared.files(job)[0])


@pytest.mark.slow
def test_ctrl_c_ends_a_command_its_job_and_its_worker(own_folder: Path, tmp_path: Path) -> None:
    words = ["txt2img", "a cat", *MODEL, "--data-dir", str(own_folder), "--device", "cpu", "--steps", "4000"]
    process = subprocess.Popen(command(*words), cwd=tmp_path, env=_found(), stderr=subprocess.PIPE)
    with process:
        workers = _until_children(process.pid)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    assert list(tmp_path.glob("*.png")) == []


def _found() -> dict[str, str]:
    """The environment in which this checkout's modules are found from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _until_children(pid: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 180
    while not (children := psutil.Process(pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return children
