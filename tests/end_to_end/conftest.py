"""The whole program as another program meets it: a server process, its worker with the real engine, and HTTP."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.serving import Served, serve

from .files import digests, furnish

SMALL = {"width": 64, "height": 64, "steps": 3, "seed": 7, "cfg_scale": 5, "sampler_name": "Euler a"}
FINAL = ("done", "failed", "cancelled", "interrupted")

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Program:
    """A running Tagbrush, and a client of it."""

    served: Served
    http: httpx.Client

    @property
    def data(self) -> Path:
        return self.served.data

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return self.http.post(path, json=fields)

    def submit(self, prompt: str = "a cat", **fields: Any) -> str:
        """The id of a new job, small unless said otherwise."""
        task = "img2img" if "init_images" in fields else "txt2img"
        answer = self.post("/tagbrush/v1/jobs", **{"task": task, "prompt": prompt, **SMALL, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def job(self, job_id: str) -> Json:
        return self.http.get(f"/tagbrush/v1/jobs/{job_id}").json()

    def end(self, job_id: str) -> Json:
        """The job once it is over, of which the server tells at once."""
        path = f"/tagbrush/v1/jobs/{job_id}?wait=30"
        return self.until(lambda: job if (job := self.http.get(path).json())["state"] in FINAL else None)

    def make(self, prompt: str = "a cat", **fields: Any) -> Json:
        """A job done."""
        job = self.end(self.submit(prompt, **fields))
        assert job["state"] == "done", job["error"]
        return job

    def running(self, job_id: str, step: int = 1) -> Json:
        """The job once it runs and has come to `step`."""

        def has_come() -> Json | None:
            job = self.job(job_id)
            assert job["state"] not in FINAL, job
            return job if job["progress"] and job["progress"]["step"] >= step else None

        return self.until(has_come)

    def files(self, job: Json) -> list[bytes]:
        """The pictures' files, in the order of their numbers."""
        return [self.http.get(picture["url"]).content for picture in job["pictures"]]

    def pixels(self, job: Json) -> list[np.ndarray]:
        """The pictures as (H, W, 3) integers."""
        return [np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), np.int16) for file in self.files(job)]

    def until(self, claim: Callable[[], T | None], seconds: float = 300) -> T:
        """The first value that is true."""
        deadline = time.monotonic() + seconds
        while not (value := claim()):
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.03)
        return value

    def worker(self) -> psutil.Process:
        """The worker's process."""
        return self.until(lambda: next(iter(psutil.Process(self.served.process.pid).children()), None))


@contextmanager
def program(data: Path, *arguments: str) -> Iterator[Program]:
    """Tagbrush on `data`, with the reference checkpoint chosen if it lies there."""
    with serve(data, *arguments) as served, httpx.Client(base_url=served.url, timeout=180) as http:
        running = Program(served, http)
        if (data / "models" / "Stable-diffusion" / "tiny_sd1.safetensors").is_file():
            assert running.post("/sdapi/v1/options", sd_model_checkpoint="tiny_sd1").status_code == 200
        yield running


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of `shared`."""
    data = tmp_path_factory.mktemp("furnished")
    furnish(data)
    return data


@pytest.fixture(scope="session")
def furnished(folder: Path) -> dict[str, str]:
    """What was in the data folder before anything was started."""
    return digests(folder)


@pytest.fixture(scope="session")
def shared(folder: Path, furnished: dict[str, str]) -> Iterator[Program]:
    """One program for all tests that leave it as they found it; the others start their own with `program`."""
    with program(folder) as running:
        running.make()
        yield running
