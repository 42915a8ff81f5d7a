"""Nothing leaves this machine, whichever library would like to. Each test is a process of its own: there is no way
back from staying here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modules.catalogue import Folders
from modules.engine.config import EngineConfig
from modules.engine.offline import QUIET, be_quiet, is_elsewhere, is_name_elsewhere

ROOT = Path(__file__).parents[2]
BEGIN = """
import contextvars, json, socket, sys, urllib.request
from modules.engine.offline import StayedOffline, leaving, stay_here

def tried(act):
    try:
        act()
    except StayedOffline as error:
        return f"refused: {error.strerror}"
    except OSError as error:
        return "tried"
    return "done"

def connect(host, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as one:
        one.settimeout(0.05)
        one.connect((host, 9))
"""


def run(code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_connections_to_other_machines_are_refused_before_they_are_made() -> None:
    told = run("""
stay_here()
print(json.dumps([
    tried(lambda: connect("192.0.2.1")),
    tried(lambda: connect("192.0.2.1", socket.SOCK_DGRAM)),
    tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))),
    tried(lambda: socket.getaddrinfo("hub.invalid", 443)),
    tried(lambda: socket.create_connection(("hub.invalid", 443), 0.1)),
]))""")
    assert told == [
        *["refused: Tagbrush is offline and did not connect to 192.0.2.1"] * 3,
        *["refused: Tagbrush is offline and did not connect to hub.invalid"] * 2,
    ]


def test_a_library_that_asks_the_web_gets_an_ordinary_error_of_the_network() -> None:
    told = run("""
stay_here()
try:
    urllib.request.urlopen("http://192.0.2.1/model.safetensors", timeout=1)
except OSError as error:
    print(json.dumps(str(error)))""")
    assert "Tagbrush is offline and did not connect to 192.0.2.1" in told


def test_this_machine_can_still_be_spoken_to() -> None:
    told = run("""
stay_here(always=True)
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
print(json.dumps([
    tried(lambda: socket.create_connection(("127.0.0.1", port)).close()),
    tried(lambda: socket.create_connection(("localhost", port)).close()),
    tried(lambda: socket.getaddrinfo(socket.gethostname(), port)) in ("done", "tried"),
    tried(lambda: socket.socketpair()[0].close()),
]))""")
    assert told == ["done", "done", True, "done"]


@pytest.mark.parametrize(("always", "outcome"), [(False, "tried"), (True, "refused")])
def test_what_a_person_asked_to_be_fetched_may_leave_unless_all_is_to_stay(always: bool, outcome: str) -> None:
    told = run(f"""
stay_here(always={always})
with leaving():
    inside = tried(lambda: connect("192.0.2.1"))
print(json.dumps([inside.split(":")[0], tried(lambda: connect("192.0.2.1")).split(":")[0]]))""")
    assert told == [outcome, "refused"]


def test_libraries_are_told_but_a_persons_own_choice_stands() -> None:
    environ = {"HF_HUB_OFFLINE": "0"}
    be_quiet(environ)
    assert environ == {**QUIET, "HF_HUB_OFFLINE": "0"}
    assert environ["GRADIO_ANALYTICS_ENABLED"] == "False"


@pytest.mark.parametrize(
    ("place", "elsewhere"),
    [
        (("127.0.0.1", 1), False),
        (("127.8.0.1", 1), False),
        (("::1", 1, 0, 0), False),
        (("0.0.0.0", 1), False),
        (("localhost", 1), False),
        ("/run/socket", False),
        (b"\0abstract", False),
        (None, False),
        (("192.168.1.2", 1), True),
        (("169.254.169.254", 80), True),
        (("8.8.8.8", 53), True),
        (("2001:db8::1", 443, 0, 0), True),
        (("fe80::1%eth0", 443, 0, 2), True),
        (("huggingface.co", 443), True),
    ],
)
def test_an_address_is_here_or_elsewhere(place: Any, elsewhere: bool) -> None:
    assert is_elsewhere(place) is elsewhere


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [
        (None, False),
        ("", False),
        ("localhost", False),
        (b"127.0.0.1", False),
        ("MyBox", False),
        ("::1", False),
        ("example.org", True),
        (b"example.org", True),
    ],
)
def test_a_name_is_known_here_or_asked_for_elsewhere(name: Any, elsewhere: bool) -> None:
    assert is_name_elsewhere(name, "mybox") is elsewhere


def test_the_worker_stays_here(tmp_path: Path) -> None:
    """Its process, begun as the server begins it, refuses what a module that it imports tries."""
    (tmp_path / "torch.py").write_text(
        "import socket, sys\n"
        "try:\n"
        "    socket.create_connection(('192.0.2.1', 9), 0.1)\n"
        "except OSError as error:\n"
        "    sys.stderr.write(f'{type(error).__name__}\\n')\n"
        "raise ImportError('that is all')\n"
    )
    code = "import sys; sys.argv[0] = 'modules.engine'; from modules.engine.__main__ import main; main()"
    config = EngineConfig(folders=Folders.from_args(shipped=tmp_path)).model_dump_json()
    with subprocess.Popen(
        [sys.executable, "-c", code, "--config", config],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,  # as long as it is open there is a server
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as worker:
        worker.wait(60)
        assert worker.stderr is not None
        assert b"StayedOffline" in worker.stderr.read()


def test_a_picture_that_a_request_names_by_address_may_be_fetched() -> None:
    told = run("""
from modules.api.fetch import Fetch, NotFetched
stay_here()
def fetched():
    try:
        Fetch(allow_local=True, seconds=0.5).picture("http://192.0.2.1/picture.png")
    except NotFetched as error:
        return "offline" in str(error)
    return None
def looked_up():
    try:
        with leaving():
            Fetch(seconds=2)._resolved("192.0.2.1.", 80, 2)
    except StayedOffline:
        return "offline"
    except OSError:
        return "tried"
print(json.dumps([fetched(), looked_up()]))""")
    assert told == [False, "tried"]
