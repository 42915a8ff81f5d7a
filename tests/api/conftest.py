"""The API over a queue whose worker lives in this process and paints one colour."""

from __future__ import annotations

import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from modules.api import Services
from modules.app.factory import create_app
from modules.app.server import Server, bind
from modules.catalogue import Catalogue, Folders, StyleFiles
from modules.images import encode
from modules.jobs import Event, EventBus, Job, Jobs, JobState, JobStore, Picture, Progress, WorkerStatus
from modules.params import Infotext, Settings, format_infotext
from tests.checkpoint import lay_checkpoint

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
ADDRESS = "http://127.0.0.1:7860"


class Painter:
    """A `WorkerLink` that does what a job's prompt says: "fail", "wait" (until it is stopped), else pictures."""

    def __init__(self, store: JobStore, bus: EventBus, folder: Path) -> None:
        self._store, self._bus, self._folder = store, bus, folder
        self._stopped: dict[str, JobState] = {}
        self._skipped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.status = WorkerStatus(state="ready", device="fake")
        self.statuses = (self.status,)
        self.done: Progress | None = None
        self.picture: bytes | None = None
        self.page_loads = 0
        self.refreshed: list[str] = []
        self.preloaded: list[Settings] = []
        self.unloads = 0

    def progress(self, job_id: str) -> Progress | None:
        return self.done if self.done and self.done.job_id == job_id else None

    def preview(self, job_id: str) -> bytes | None:
        return self.picture if self.done and self.done.job_id == job_id else None

    def start(self) -> None: ...

    def close(self) -> None:
        for job in self._store.active():
            self._stopped[job.id] = JobState.CANCELLED
        for thread in self._threads:
            thread.join(60)

    def wake(self) -> None:
        thread = threading.Thread(target=self._work)
        self._threads.append(thread)
        thread.start()

    def stop_job(self, job_id: str, state: JobState) -> None:
        self._stopped[job_id] = state

    def skip(self, job_id: str) -> None:
        self._skipped.set()

    def page_loaded(self) -> None:
        self.page_loads += 1

    def files_changed(self, kind: str) -> None:
        self.refreshed.append(kind)

    def preload(self, settings: Settings) -> None:
        self.preloaded.append(settings)

    def unload(self) -> None:
        self.unloads += 1

    def _work(self) -> None:
        with self._lock:
            job = self._store.start_next()
            if job is not None:
                self._do(job)

    def _do(self, job: Job) -> None:
        if "refuse" in job.request.prompt:
            self._store.finish(job.id, JobState.FAILED, "The UNet gave values that are not numbers.", "request")
            return
        if "fail" in job.request.prompt:
            self._store.finish(job.id, JobState.FAILED, "Out of memory: 9 GB are needed, 4 GB are free.")
            return
        self._tell(job)
        while "wait" in job.request.prompt and not self._skipped.is_set():
            if job.id in self._stopped:
                self._store.finish(job.id, self._stopped[job.id])
                return
            time.sleep(0.005)
        for index in range(job.request.n_iter * job.request.batch_size):
            self._store.add_picture(self._paint(job, index))
        if job.settings.return_mask:
            self._store.add_picture(self._paint(job, index + 1).model_copy(update={"kind": "mask"}))
        if "notice" in job.request.prompt:
            self._store.add_notice(job.id, 'LoRA "x" is unknown.')
        self.done = self.picture = None
        self._store.finish(job.id, JobState.DONE)

    def _tell(self, job: Job) -> None:
        self.picture = jpeg()
        self.done = Progress(job_id=job.id, batch=0, batches=1, step=5, steps=10, progress=0.5, eta=3.0)
        self._bus.publish(Event("progress", self.done.model_dump(mode="json"), job_id=job.id))

    def _paint(self, job: Job, index: int) -> Picture:
        request, seed = job.request, job.request.seed + index
        width, height = request.width or 64, request.height or 64
        fields = {
            "Steps": str(request.steps),
            "Sampler": request.sampler_name,
            "CFG scale": "3.5",
            "Seed": str(seed),
            "Size": f"{width}x{height}",
            "Model": "tiny_sd1",
            "RNG": "NV",
            "Version": "Tagbrush 0.1.0",
        }
        text = format_infotext(Infotext(request.prompt, request.negative_prompt, fields))
        data, ending = encode(Image.new("RGB", (width, height), "teal"), text)
        path = self._folder / f"{job.id}-{index}{ending}"
        path.write_bytes(data)
        return Picture(job_id=job.id, index=index, path=path, seed=seed, infotext=text, width=width, height=height)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def png(size: tuple[int, int] = (32, 24)) -> bytes:
    return encode(Image.new("RGB", size, "orange"), "")[0]


@pytest.fixture(scope="session")
def large_preview() -> bytes:
    """A picture that is too large to be sent as it is."""
    return encode(Image.effect_noise((700, 700), 90), "")[0]


def furnish(data: Path, factory: pytest.TempPathFactory, preview: bytes) -> Folders:
    """A data folder with a checkpoint, two LoRA (one in a sub-folder, with preview and sidecar) and a broken one."""
    folders = Folders.from_args(shipped=data)
    loras = data / "models" / "Lora"
    (loras / "styles").mkdir(parents=True)
    (data / "embeddings").mkdir()
    lay_checkpoint(data / "models" / "Stable-diffusion", factory)
    shutil.copy(GOLDEN / "embeddings" / "ti.safetensors", data / "embeddings")
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", loras / "lin.safetensors")
    shutil.copy(GOLDEN / "lora" / "locon.safetensors", loras / "styles" / "ink.safetensors")
    (loras / "styles" / "ink.json").write_text(
        '{"activation text": "inky", "preferred weight": 0.7, "description": "black <b>ink</b>"}', encoding="utf-8"
    )
    (loras / "styles" / "ink.png").write_bytes(preview)
    (loras / "broken.safetensors").write_bytes((GOLDEN / "lora" / "lin.safetensors").read_bytes()[:100])
    return folders


def serve(folders: Folders, pictures: Path) -> Services:
    """A queue whose worker puts its pictures into a folder, and a catalogue."""
    store = JobStore(None)
    bus = EventBus(store.events_after)
    store.announce = bus.publish
    jobs = Jobs(store, bus, Painter(store, bus, pictures))
    return Services(jobs, Catalogue(folders), styles=StyleFiles(folders.styles), flags={"listen": False})


@pytest.fixture
def folders(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, large_preview: bytes) -> Folders:
    """What `furnish` makes, for one test."""
    return furnish(tmp_path, tmp_path_factory, large_preview)


@pytest.fixture
def services(tmp_path: Path, folders: Folders) -> Services:
    return serve(folders, tmp_path)


@pytest.fixture
def painter(services: Services) -> Painter:
    worker = services.jobs._worker
    assert isinstance(worker, Painter)
    return worker


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(create_app(services), base_url=ADDRESS, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, large_preview: bytes) -> Iterator[TestClient]:
    """A client for the tests of a file that only read, or are refused: they share one app."""
    data = tmp_path_factory.mktemp("read")
    services = serve(furnish(data, tmp_path_factory, large_preview), data)
    with TestClient(create_app(services), base_url=ADDRESS, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def serving(services: Services, **options: Any) -> Iterator[Server]:
    """A real HTTP server in a thread; `options` are those of `create_app`."""
    server = Server(create_app(services, **options), services, on_ready=lambda: None)
    with bind("127.0.0.1", None, 18_000) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        server.config.port = listener.getsockname()[1]
        thread.start()
        until(lambda: server.started)
        yield server
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def server(services: Services) -> Iterator[Server]:
    """A real HTTP server in a thread, whose address `port` tells."""
    with serving(services) as server:
        yield server


@pytest.fixture
def port(server: Server) -> int:
    return server.config.port


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
