"""The commands with a fake engine or a server whose worker paints one colour."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from modules.api import Services
from modules.app import address, cli
from modules.app.commands import make
from modules.app.commands.make import named
from modules.app.commands.studio import Own
from modules.client import Client, Job, Picture
from tests.api.conftest import Painter, png, serving, until


@pytest.fixture
def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the commands are given."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def run(*words: str) -> tuple[int, str]:
    """The exit code, and what was written for a person."""
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    return make.main(words, console), console.file.getvalue()  # type: ignore[attr-defined]


def text_of(path: Path) -> str:
    with Image.open(path) as image:
        return image.info["parameters"]


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_picture_is_written_where_it_is_wanted(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("txt2img", "a cat", "--seed", "7", "--url", url, "-o", "cats/one.png") == (0, "")
    assert capsys.readouterr().out == "cats/one.png\n"
    with Client(url) as client:
        job = client.jobs(1)[0]
        assert (folder / "cats" / "one.png").read_bytes() == client.picture(job.pictures[0])
    assert text_of(folder / "cats" / "one.png") == job.pictures[0].infotext
    assert (job.request["seed"], job.request["save_images"]) == (7, False)


def test_several_pictures_are_told_apart(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("txt2img", "a cat", "--seed", "7", "--n-iter", "2", "--url", url)[0] == 0
    assert run("txt2img", "a cat", "--seed", "7", "--n-iter", "2", "--url", url, "-o", "cat.png")[0] == 0
    assert pictures(folder) == ["cat-1.png", "cat-2.png", "tagbrush-7.png", "tagbrush-8.png"]
    capsys.readouterr()


def test_json_tells_paths_seeds_and_texts(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("txt2img", "a notice", "--seed", "3", "--url", url, "--json") == (0, 'LoRA "x" is unknown.\n')
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["notices"]) == ("done", ['LoRA "x" is unknown.'])
    (picture,) = told["pictures"]
    assert (picture["path"], picture["seed"]) == ("tagbrush-3.png", 3)
    assert text_of(folder / picture["path"]) == picture["infotext"]


def test_a_picture_is_made_from_a_picture(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "start.png").write_bytes(png())
    assert run("img2img", "a lemon", "--init", "start.png", "--url", url, "-o", "lemon.png")[0] == 0
    with Client(url) as client:
        assert client.jobs(1)[0].task == "img2img"
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("txt2img", "a cat", "--sampler-name", "Eular a"), 2, 'Did you mean "Euler a"?'),
        (("txt2img", "a cat", "--steps", "0"), 2, "greater than or equal to 1"),
        (("txt2img", "refuse"), 2, "values that are not numbers"),
        (("txt2img", "fail"), 1, "4 GB are free"),
        (("img2img", "a lemon"), 2, "needs a picture to start from"),
    ],
)
def test_what_goes_wrong_is_told_with_its_exit_code(
    url: str, folder: Path, words: Sequence[str], code: int, told: str
) -> None:
    given, text = run(*words, "--url", url)
    assert given == code
    assert told in text
    assert pictures(folder) == []


def test_no_server_at_the_address_is_told(folder: Path) -> None:
    code, text = run("txt2img", "a cat", "--url", "http://127.0.0.1:9")
    assert (code, "Is Tagbrush running there?" in text) == (1, True)


def test_a_login_that_is_needed_is_asked_for_and_used(
    services: Services, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(services, logins=["ann:secret"]) as server:
        url = f"http://127.0.0.1:{server.config.port}"
        code, text = run("txt2img", "a cat", "--url", url)
        assert (code, text) == (1, "A user name and a password are needed. Give them as --auth NAME:PASSWORD.\n")
        assert run("txt2img", "a cat", "--url", url, "--auth", "ann:secret")[0] == 0
    capsys.readouterr()


def test_ctrl_c_stops_the_job_and_keeps_what_exists(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Client.job

    def pressed_at_the_first_look(client: Client, *given: Any) -> Job:
        monkeypatch.setattr(Client, "job", look)
        until(lambda: client.queue().running)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("unreachable")

    monkeypatch.setattr(Client, "job", pressed_at_the_first_look)
    assert run("txt2img", "wait", "--url", url) == (130, "Stopped.\n")
    with Client(url) as client:
        assert client.jobs(1)[0].state == "interrupted"
    capsys.readouterr()


def test_a_server_that_uses_the_data_folder_is_used(
    url: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "PATIENCE", 60.0)
    address.tell(tmp_path, url)
    assert address.running_on(tmp_path) == url
    assert run("txt2img", "a cat", "--data-dir", str(tmp_path), "-o", "cat.png")[0] == 0
    address.withdraw(tmp_path)
    assert address.running_on(tmp_path) is None
    capsys.readouterr()


def test_an_address_left_by_a_server_that_died_is_passed_over(tmp_path: Path) -> None:
    for left in ("http://127.0.0.1:9", "nonsense", "http://[", ""):
        address.tell(tmp_path, left)
        assert address.running_on(tmp_path) is None


@pytest.fixture
def own(services: Services) -> Iterator[Own]:
    yield Own(services)
    services.jobs.close()


def test_an_engine_of_its_own_answers_as_a_server_does(own: Own, services: Services, painter: Painter) -> None:
    job = own.submit("a cat", task="txt2img", seed=4)
    until(lambda: own.job(job).is_over)
    done = own.job(job)
    assert own.picture(done.pictures[0]) == services.jobs.picture(job.id, 0).path.read_bytes()
    assert own.status().worker.device == "fake"
    lemon = own.submit("a lemon wait", task="img2img", init_images=[png()], mask=png())
    assert lemon.request["init_images"] == [lemon.request["mask"]]
    assert own.interrupt(lemon).id == lemon.id


def test_names_of_files_are_filled_in() -> None:
    def picture(seed: int) -> Picture:
        return Picture(index=0, seed=seed, subseed=0, infotext="", width=1, height=1, kind="picture", url="")

    two = [picture(5), picture(6)]
    assert named("a/{seed}.png", two) == [Path("a/5.png"), Path("a/6.png")]
    assert named("{index}.jpg", two) == [Path("1.jpg"), Path("2.jpg")]
    assert named("cat.png", two) == [Path("cat-1.png"), Path("cat-2.png")]
    assert named("{seed}.png", [picture(5), picture(5)]) == [Path("5-1.png"), Path("5-2.png")]
    assert named("cat", two[:1]) == [Path("cat")]
    assert named("cat.png", []) == []


def test_the_first_word_chooses_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("modules.app.commands.main", lambda words, console: asked.append(words) or 0)
    assert cli.main(["txt2img", "a cat", "--steps", "3"]) == 0
    assert asked == [["txt2img", "a cat", "--steps", "3"]]
