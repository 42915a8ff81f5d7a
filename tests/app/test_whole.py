"""The program in a process of its own, with its real worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import webuiapi

from tests.api.conftest import until
from tests.serving import GOLDEN, ROOT, WITHOUT_ENGINE, Served, serve

HEAVY = ("torch", "diffusers", "transformers", "accelerate", "torchsde")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("data")
    for name, target in (
        ("model/tiny_sd1.safetensors", "models/Stable-diffusion/aaa.safetensors"),
        ("lora/lin.safetensors", "models/Lora/lin.safetensors"),
    ):
        (data / target).parent.mkdir(parents=True)
        shutil.copy(GOLDEN / name, data / target)
    with serve(data, "--device", "cpu") as served:
        served.post("/tagbrush/v1/options", {"sd_model_checkpoint": "aaa"})
        yield served


def test_the_client_that_others_use_gets_a_picture_with_a_lora(served: Served) -> None:
    api = webuiapi.WebUIApi(baseurl=f"{served.url}/sdapi/v1")
    plain, drawn, again = (
        api.txt2img(prompt=prompt, seed=5, steps=4, width=64, height=64)
        for prompt in ("a cat", "a cat <lora:lin:1>", "a cat <lora:lin:1>")
    )
    api.session.close()
    assert drawn.image.size == (64, 64)
    assert "<lora:lin:1>" in drawn.image.info["parameters"]
    assert "Lora hashes" in drawn.info["extra_generation_params"]
    assert drawn.info["notices"] == []
    assert drawn.image.tobytes() == again.image.tobytes() != plain.image.tobytes()


def test_pictures_that_were_not_to_be_saved_are_not_among_the_saved(served: Served) -> None:
    assert not list((served.data / "outputs").glob("txt2img-images/**/*.png"))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads the libraries of a process from /proc")
def test_the_server_process_never_loads_torch(served: Served) -> None:
    served.wait_for("page")
    served.get("/tagbrush/v1/catalogue/lora")
    maps = Path(f"/proc/{served.process.pid}/maps").read_text(encoding="utf-8")
    assert "/numpy/" in maps
    assert not [name for name in HEAVY if f"/{name}/" in maps]


def test_only_outputs_and_our_own_files_are_written(served: Served) -> None:
    ours = {"models", "outputs", "server.log"}
    found = {path.name for path in served.data.iterdir()}
    assert not {name for name in found - ours if not name.startswith("tagbrush")}


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be sent Ctrl+C there without sending it to all")
def test_ctrl_c_ends_server_and_worker(tmp_path: Path) -> None:
    # R009
    with serve(tmp_path, "--device", "cpu") as served:
        served.wait_for("page")
        workers = psutil.Process(served.process.pid).children()
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(60) == 0
        assert workers
        until(lambda: not any(is_alive(worker) for worker in workers))
    assert "Traceback" not in (tmp_path / "server.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_a_picture(tmp_path: Path) -> None:
    # R009
    with serve(tmp_path, "--device", "cpu", "--nowebui") as served:
        job = served.post("/tagbrush/v1/jobs", {"task": "txt2img", "steps": 5000, "width": 64, "height": 64})
        path = f"/tagbrush/v1/jobs/{job['id']}"
        deadline = time.monotonic() + 180
        while not (served.get(path)["progress"] or {}).get("step"):
            assert time.monotonic() < deadline, served.get(path)
            time.sleep(0.1)
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(60) == 0
    log = (tmp_path / "server.log").read_text(encoding="utf-8")
    assert "Tagbrush has stopped." in log
    assert "Traceback" not in log
    with serve(tmp_path, "--device", "cpu", "--nowebui", start=WITHOUT_ENGINE) as again:
        assert again.get(path)["state"] in ("queued", "running"), "its picture was not made first"
        again.post(f"{path}/interrupt", {})


def test_a_second_server_on_the_same_folder_says_so(served: Served) -> None:
    code = "import sys; from modules.app.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--no-browser", "--data-dir", str(served.data)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert "another Tagbrush" in " ".join(done.stderr.split())


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that nobody has asked for its exit code yet does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
