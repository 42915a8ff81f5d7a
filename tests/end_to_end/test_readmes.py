"""The pages for programs and for owners of servers: every example in them is run, or read by what would read it."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.app.historical import SWITCHES, WITH_VALUE, reasons
from modules.app.options import parse
from modules.params import parameters
from modules.params.setting_groups import LimitSettings
from tests.serving import ROOT, START, Served, serve

API, SERVER = ROOT / "modules" / "api" / "README.md", ROOT / "modules" / "app" / "README.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROUTE = re.compile(r"`(GET|POST|PUT|DELETE) (/[\w/{}.-]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
URL = "http://127.0.0.1:7860"


def blocks(page: Path, *kinds: str) -> list[str]:
    """The page's examples of these kinds."""
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind in kinds]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the built-in model."""
    with serve(tmp_path_factory.mktemp("readme"), "--nowebui", "--device", "cpu") as served:
        yield served


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `python` is this one."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("number", range(len(blocks(API, "python"))))
def test_python_examples_run(served: Served, number: int, tmp_path: Path) -> None:
    code = blocks(API, "python")[number]
    assert URL in code
    ran = subprocess.run(
        [sys.executable, "-c", code.replace(URL, served.url)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() or list(tmp_path.glob("*.png"))


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="needs bash and curl")
@pytest.mark.parametrize("number", range(len(blocks(API, "sh"))))
def test_shell_examples_run(served: Served, number: int, tmp_path: Path, shell: dict[str, str]) -> None:
    text = blocks(API, "sh")[number]
    assert URL in text
    # The command of the shell is the program's own, without the environment that webui.py would make first.
    start = f"{shlex.quote(sys.executable)} -c {shlex.quote(START)}"
    text = text.replace("python webui.py", start).replace(URL, served.url).replace("--max-time 2 ", "--max-time 10 ")
    command = ["bash", "-euo", "pipefail", "-c", text]
    ran = subprocess.run(command, cwd=tmp_path, env=shell, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    if "Idempotency-Key" in text:
        first, second = ran.stdout.split()
        assert first == second
    elif "Eular" in text:
        assert json.loads(ran.stdout)["detail"] == 'Sampler "Eular a" is unknown. Did you mean "Euler a"?'
    elif "events" in text:
        assert "event: snapshot" in ran.stdout
    else:
        assert [path.name for path in tmp_path.glob("*.png")] == ["apple.png"]


@pytest.mark.parametrize("page", [API, SERVER], ids=["api", "server"])
def test_every_route_that_is_named_is_there(served: Served, page: Path) -> None:
    paths = served.get("/openapi.json")["paths"]
    known = {(method.upper(), re.sub(r"{\w+}", "{}", path)) for path, there in paths.items() for method in there}
    named = {(method, re.sub(r"{\w+}", "{}", path)) for method, path in ROUTE.findall(page.read_text(encoding="utf-8"))}
    assert named
    assert named - known == set()


@pytest.mark.parametrize("page", [API, SERVER, ROOT / "README.md"], ids=["api", "server", "index"])
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def commands(page: Path) -> list[list[str]]:
    """The flags of every start of the server in the page's examples."""
    found = []
    for text in blocks(page, "sh", "ini"):
        for line in text.replace("\\\n", " ").splitlines():
            _, start, flags = line.partition("webui.py ")
            if start and not flags.startswith("txt2img"):
                found.append(shlex.split(flags))
    return found


def test_every_start_of_the_server_is_understood(tmp_path: Path) -> None:
    (tmp_path / "logins").write_text("ann:a-long-password\n", encoding="utf-8")
    starts = commands(SERVER)
    assert len(starts) >= 8
    for words in starts:
        here = [word.replace("/etc/tagbrush/logins", str(tmp_path / "logins")) for word in words]
        options = parse(here, {})
        assert options.notes == ()
        assert options.warnings == ()
    named = set(re.findall(r"`(--[\w-]+)", SERVER.read_text(encoding="utf-8")))
    told = subprocess.run(
        [sys.executable, "-c", "from modules.app.options import parse; parse(['--help'], {})"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    accepted = {f"--{flag}" for flags in (SWITCHES, WITH_VALUE) for flag, _ in reasons(flags)}
    assert [flag for flag in sorted(named - accepted) if flag not in told] == []


def test_the_unit_is_one(tmp_path: Path) -> None:
    (text,) = blocks(SERVER, "ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    unit.read_string(text)
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Service"]["Restart"] == "on-failure"
    folders = unit["Service"]["ReadWritePaths"].split()
    assert unit["Service"]["WorkingDirectory"] in folders
    assert str(parse(commands(SERVER)[0], {}).data_dir) not in folders


def test_limits_and_their_defaults_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| `(max_\w+)` \| (\d+) \|", API.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: float(default) for name, default in rows} == {
        name: param.default for name, param in parameters(LimitSettings).items()
    }
    (example,) = blocks(SERVER, "json")
    assert set(json.loads(example)) <= {name for name, _ in rows}


@pytest.mark.skipif(not shutil.which("nginx") or not shutil.which("openssl"), reason="needs nginx and openssl")
def test_nginx_reads_its_part(tmp_path: Path) -> None:
    (text,) = blocks(SERVER, "nginx")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=pictures.example.com"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    text = text.replace("/etc/tagbrush", str(tmp_path)).replace("listen 443 ssl", f"listen unix:{tmp_path}/socket ssl")
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/errors; events {{}}\nhttp {{ access_log off;\n{text}}}\n",
        encoding="utf-8",
    )
    tried = subprocess.run(["nginx", "-t", "-c", str(whole)], capture_output=True, text=True, check=False)
    assert "syntax is ok" in tried.stderr, tried.stderr


@pytest.mark.skipif(not shutil.which("caddy"), reason="needs caddy")
@pytest.mark.parametrize("number", range(len(blocks(SERVER, "caddy"))))
def test_caddy_reads_its_parts(number: int, tmp_path: Path) -> None:
    (tmp_path / "Caddyfile").write_text(blocks(SERVER, "caddy")[number], encoding="utf-8")
    command = ["caddy", "adapt", "--config", str(tmp_path / "Caddyfile"), "--validate"]
    tried = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "127.0.0.1:7860" in tried.stdout
