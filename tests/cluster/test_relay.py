"""A relay is a worker to the server, wherever the engine runs. Here it runs in a process nearby, without Ray."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modules.catalogue import Catalogue, Folders
from modules.catalogue.index import Index
from modules.cluster import actor as actor_module
from modules.cluster.arrivals import Arrivals
from modules.cluster.manifest import Manifest
from modules.cluster.places import place_of
from modules.cluster.porter import Porter
from modules.cluster.relay import Relay
from modules.cluster.slots import Slot
from modules.cluster.versions import versions
from modules.engine.config import EngineConfig
from modules.engine.pipes import Pipes
from modules.images import read_mark
from modules.jobs.messages import (
    Done,
    Failed,
    Interrupt,
    Message,
    Notice,
    PictureSaved,
    Ready,
    Refresh,
    Run,
    Skip,
    Starting,
    Unusable,
    encode,
)
from modules.params import Settings, Txt2ImgRequest

from .conftest import NearNode

FAKE = Path(__file__).with_name("fake_engine.py")


class Server(Pipes):
    """The server's end: what it heard from the relay, and a pipe to say something."""

    def __init__(self) -> None:
        self._write_end: int | None
        read_end, self._write_end = os.pipe()
        super().__init__(os.fdopen(read_end, "rb", buffering=0), io.BytesIO())
        self.heard: list[Message] = []

    def send(self, message: Message) -> None:
        self.heard.append(message)

    def say(self, message: Message) -> None:
        self.babble(encode(message))

    def babble(self, data: bytes) -> None:
        assert self._write_end is not None
        os.write(self._write_end, data)

    def hang_up(self) -> None:
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None

    def of(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]

    def wait_for(self, kind: type[Message], count: int = 1) -> list[Any]:
        until(lambda: len(self.of(kind)) >= count, lambda: str(self.heard))
        return self.of(kind)


def until(claim: Callable[[], object], tell: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < deadline, f"did not happen in time: {tell()}"
        time.sleep(0.01)


class Running:
    """A relay in threads of this process, which end as its process would."""

    def __init__(self, folders: Folders, cache: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.code: int | None = None
        self.server = Server()
        slot = options.get("slot", Slot(cpus=1))
        self.node = NearNode(folders, cache, options.get("about"), slot=slot)
        node, server = self.node, self.server
        self.index = Index(None)
        self.catalogue = Catalogue(folders, None, is_thorough=False)
        self.arrivals = Arrivals(folders, server.send, lambda message: node.hear(encode(message)), pauses=(0.01,) * 3)
        self._relay = Relay(
            server,
            node,
            slot,
            versions(),
            manifest=Manifest(self.catalogue),
            arrivals=self.arrivals,
            porter=Porter(node, self.index, lambda text: None),
        )
        monkeypatch.setattr("modules.cluster.relay.os._exit", self._end)
        threading.Thread(target=self._relay.live, daemon=True).start()

    def _end(self, code: int) -> None:
        """The process would be gone; here the thread that ends it stays where it is."""
        if self.code is None:
            self.code = code
        threading.Event().wait()

    def close(self) -> None:
        self.server.hang_up()
        until(lambda: self.code is not None)
        self.node.end()
        self.server.reading.close()
        self.catalogue.close()
        self.index.close()


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(config: EngineConfig) -> list[str]:
        return [sys.executable, str(FAKE), "--config", config.model_dump_json()]

    monkeypatch.setattr(actor_module, "worker_command", command)


@pytest.fixture
def start(folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(**options: Any) -> Running:
        running = Running(folders, tmp_path / "node", monkeypatch, **options)
        started.append(running)
        return running

    yield begin
    for running in started:
        running.close()


def job(prompt: str = "good", job_id: str = "a", **settings: Any) -> Run:
    request = Txt2ImgRequest(prompt=prompt, seed=7)
    chosen = Settings().overridden({"sd_model_checkpoint": "tiny_sd1", **settings})
    return Run(job_id=job_id, request=request.model_dump(mode="json"), settings=chosen.model_dump(mode="json"))


def test_a_job_is_done_there_and_its_picture_saved_here(folders: Folders, start: Callable[..., Running]) -> None:
    relay = start(slot=Slot(cpus=3, threads=3))
    assert relay.server.wait_for(Ready)[0].device == "CPU on far"
    relay.server.say(job())
    relay.server.wait_for(Done)
    [picture] = relay.server.of(PictureSaved)
    path = Path(picture.path)
    assert path.parent.parent == folders.data_dir / "outputs" / "txt2img-images"
    assert path.name == "00000-7.png"
    mark = read_mark(path)
    assert mark is not None and (mark.job_id, mark.index, mark.infotext) == ("a", 0, "made")
    checkpoint = next(folders.checkpoints[0].glob("*.safetensors"))
    assert relay.server.of(Notice)[0].text == f"{checkpoint.read_bytes()[:8]!r} 3"
    assert relay.node.sent == checkpoint.stat().st_size
    assert not list(relay.node.worker._home.glob("outputs/**/*.*")), "nothing of it stays there"

    relay.server.say(job("unsaved", "b", outdir_txt2img_samples="elsewhere"))
    relay.server.wait_for(Done, 2)
    assert Path(relay.server.of(PictureSaved)[1].path).parent == folders.outputs / "unsaved" / "b"
    relay.server.say(job("good", "c", outdir_txt2img_samples="elsewhere"))
    relay.server.wait_for(Done, 3)
    assert Path(relay.server.of(PictureSaved)[2].path).parent.parent == folders.data_dir / "elsewhere"
    assert relay.node.sent == checkpoint.stat().st_size, "the file is copied once"

    home = relay.node.worker._home
    relay.server.hang_up()
    until(lambda: relay.code is not None)
    assert relay.code == 0
    assert not home.exists()


def test_an_engine_that_dies_ends_the_relay_as_it_ended(
    start: Callable[..., Running], capsys: pytest.CaptureFixture[str]
) -> None:
    relay = start()
    relay.server.wait_for(Ready)
    relay.server.say(job("die"))
    until(lambda: relay.code is not None)
    assert relay.code == 137, "which the supervisor knows as a death by SIGKILL"
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == ["about to die", "The worker process on far was killed by signal 9 (SIGKILL)."]


def test_a_node_with_other_packages_is_refused_in_words(start: Callable[..., Running]) -> None:
    ours = versions()
    other = replace(ours, node="old", libraries={**ours.libraries, "torch": "1.0"})
    relay = start(about=other)
    error = relay.server.wait_for(Unusable)[0].error
    assert f"node old would make other pictures: torch is 1.0 there and {ours.libraries['torch']} here" in error
    until(lambda: relay.code is not None)
    assert relay.code == 2


def test_a_gpu_that_pytorch_does_not_see_is_refused_in_words(start: Callable[..., Running]) -> None:
    relay = start(slot=Slot(gpus=1))
    assert "PyTorch finds none" in relay.server.wait_for(Unusable)[0].error
    until(lambda: relay.code is not None)
    assert relay.code == 2
    assert not relay.server.of(Ready)


def test_what_is_waited_for_is_told(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    found = NearNode.found
    answers = [False, True]
    monkeypatch.setattr(NearNode, "found", lambda node, wait: found(node, wait) if answers.pop() else None)
    answers.reverse()
    relay = start(slot=Slot(cpus=8))
    relay.server.wait_for(Ready)
    assert "Waiting for the Ray cluster to have 8 processors free" in [each.text for each in relay.server.of(Starting)]


def test_a_checkpoint_that_comes_while_it_runs_is_found(folders: Folders, start: Callable[..., Running]) -> None:
    relay = start()
    relay.server.wait_for(Ready)
    old = next(folders.checkpoints[0].glob("*.safetensors"))
    old.with_name("fresh.safetensors").write_bytes(old.read_bytes())
    relay.server.say(job(sd_model_checkpoint="fresh"))
    relay.server.wait_for(Done)
    assert relay.node.sent == old.stat().st_size
    tree = relay.node.worker._tree
    assert tree.path(place_of(old.with_name("fresh.safetensors"))).read_bytes() == old.read_bytes()


def test_a_file_that_cannot_be_brought_fails_the_job_with_its_name(
    folders: Folders, start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = start()
    relay.server.wait_for(Ready)
    monkeypatch.setattr(Manifest, "glance", lambda manifest: ())
    next(folders.checkpoints[0].glob("*.safetensors")).unlink()
    relay.server.say(job())
    failed = relay.server.wait_for(Failed)[0]
    assert failed.error.startswith("tiny_sd1.safetensors could not be brought to far: ")


class Held:
    """A method that waits, once it is called, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> None:
        self._called, self._may_go, real = threading.Event(), threading.Event(), getattr(kind, name)

        def held(*arguments: Any) -> Any:
            self._called.set()
            assert self._may_go.wait(60)
            return real(*arguments)

        monkeypatch.setattr(kind, name, held)

    def wait_until_called(self) -> None:
        assert self._called.wait(30)

    def let_go(self) -> None:
        self._may_go.set()


def test_a_job_may_be_stopped_while_its_files_are_on_their_way(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = Held(monkeypatch, NearNode, "offer")
    relay = start()
    relay.server.wait_for(Ready)
    relay.server.say(job())
    offer.wait_until_called()
    relay.server.say(Interrupt(job_id="a"))
    assert relay.server.wait_for(Done)[0].interrupted
    offer.let_go()
    relay.server.say(job(job_id="b"))
    assert not relay.server.wait_for(Done, 2)[1].interrupted


def test_a_job_may_be_stopped_while_the_node_learns_of_new_files(
    folders: Folders, start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer, renew = Held(monkeypatch, NearNode, "offer"), Held(monkeypatch, NearNode, "renew")
    relay = start()
    relay.server.wait_for(Ready)
    relay.server.say(job())
    offer.wait_until_called()
    lora = next(folders.loras[0].rglob("*.safetensors"))
    lora.with_name("fresh.safetensors").write_bytes(lora.read_bytes())
    relay.server.say(Refresh())
    renew.wait_until_called()
    relay.server.say(Interrupt(job_id="a"))
    assert relay.server.wait_for(Done)[0].interrupted
    renew.let_go()
    offer.let_go()


def test_a_job_that_is_stopped_before_it_is_handed_out_is_stopped_there(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = Held(monkeypatch, NearNode, "offer")
    relay = start()
    relay.server.wait_for(Ready)
    glance = Held(monkeypatch, Manifest, "glance")
    relay.server.say(job())
    glance.wait_until_called()
    relay.server.say(Skip(job_id="a"))
    relay.server.say(Interrupt(job_id="a"))
    until(lambda: len(relay._relay._coming["a"]) == 2)
    glance.let_go()
    assert relay.server.wait_for(Done)[0].interrupted
    assert not relay._relay._coming
    offer.let_go()


def fails_with(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("kind", "name", "error", "words"),
    [
        (Porter, "bring", ValueError("no such chunk"), "The worker's relay failed: ValueError: no such chunk"),
        (NearNode, "hear", RuntimeError("lost"), "The worker's relay failed: RuntimeError: lost"),
        (Arrivals, "stopped", KeyError("a"), "The worker's relay failed: KeyError: 'a'"),
        (
            Catalogue,
            "current_entries",
            PermissionError(13, "Permission denied"),
            "The server's files cannot be looked through: [Errno 13] Permission denied. Check their disks.",
        ),
    ],
)
def test_whatever_breaks_in_a_relay_ends_it_in_words(
    start: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: type,
    name: str,
    error: Exception,
    words: str,
) -> None:
    relay = start()
    relay.server.wait_for(Ready)
    monkeypatch.setattr(kind, name, fails_with(error))
    relay.server.say(job())
    relay.server.say(Interrupt(job_id="a"))
    until(lambda: relay.code is not None)
    assert relay.code == 1
    assert capsys.readouterr().err.splitlines()[-1] == words


def test_a_server_that_speaks_another_language_ends_the_relay_in_words(
    start: Callable[..., Running], capsys: pytest.CaptureFixture[str]
) -> None:
    relay = start()
    relay.server.wait_for(Ready)
    relay.server.babble(b"GET / HTTP/1.1\r\n\r\n")
    until(lambda: relay.code is not None)
    assert relay.code == 1
    assert capsys.readouterr().err.startswith("The server cannot be understood: ")
