"""The examples of the README run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modules import client as package
from modules.app.commands.words import read
from modules.client import AsyncClient, Client, ClientError
from tests.api.conftest import png
from tests.serving import ROOT

README = (ROOT / "modules" / "client" / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^    python webui\.py (.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = "from modules.client import AsyncClient, Client\n"
    here = f'"http://127.0.0.1:{port}"'
    code = example.replace('"http://127.0.0.1:7860"', here).replace("Client()", f"Client({here})")
    shown: list[str] = []
    exec(before + code, {"print": shown.append})
    with Client(f"http://127.0.0.1:{port}") as client:
        assert all(job.state == "done" for job in client.jobs())


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_understood(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apple.png").write_bytes(png())
    order = read(shlex.split(words), {})
    assert order.task == words.split()[0]
    assert order.out != "tagbrush-{seed}.png"


def test_every_method_and_error_is_named() -> None:
    methods = {name for name in vars(Client) if not name.startswith("_") and name != "close"}
    named = set(re.findall(r"`(\w+)`", README))
    assert methods <= named
    assert methods <= vars(AsyncClient).keys()
    values = {name: getattr(package, name) for name in package.__all__}
    errors = {name for name, value in values.items() if isinstance(value, type) and issubclass(value, ClientError)}
    errors.discard("ClientError")
    assert errors <= named
