"""Ports, and what is said of them."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from rich.console import Console

from modules.api import Services
from modules.app.cli import allowed_hosts, announce, main
from modules.app.options import Options
from modules.app.server import Impatient, PortTaken, bind
from tests.api.conftest import serving


@pytest.fixture
def taken() -> int:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_gives_way_to_the_next(taken: int) -> None:
    with bind("127.0.0.1", None, taken) as listener:
        assert taken < listener.getsockname()[1] < taken + 20


def test_a_port_that_was_asked_for_does_not(taken: int) -> None:
    with pytest.raises(PortTaken, match=f"Port {taken} is in use"):
        bind("127.0.0.1", taken, 7860)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1"):
        bind("192.0.2.1", None, 7860)


def test_small_answers_leave_at_once() -> None:
    """Held back until the client confirms the packet before, each would take 40 ms."""
    without_delay: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        without_delay.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def meet(listener: socket.socket) -> None:
        async with await asyncio.start_server(answer, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            await reader.read()
            writer.close()

    with bind("127.0.0.1", None, 50_000) as listener:
        asyncio.run(meet(listener))
    assert len(without_delay) == 1
    assert without_delay[0] != 0


def test_a_taken_port_is_told_and_ends_the_program(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", str(taken), "--no-browser"]) == 1
    assert "in use" in capsys.readouterr().err


def test_a_wrong_flag_is_told_and_ends_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--lisen"]) == 2
    assert "--listen" in capsys.readouterr().err


def said(options: Options, capsys: pytest.CaptureFixture[str]) -> str:
    announce(options, 7860, Console(stderr=True, width=200))
    return capsys.readouterr().err


def test_one_line_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(Options(browser=False), capsys)
    assert text == "Tagbrush is ready at http://127.0.0.1:7860   (Ctrl+C stops it)\n"


def test_who_lets_others_in_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    # F006
    open_to_all = Options(host="0.0.0.0", browser=False)
    warned = said(open_to_all, capsys)
    assert "WARNING: there is no login." in warned
    assert "webui.py --listen --auth NAME:PASSWORD" in warned
    assert socket.gethostname() in said(open_to_all, capsys)
    assert "WARNING" not in said(Options(host="0.0.0.0", browser=False, auth=("a:b",)), capsys)
    assert "WARNING" not in said(Options(browser=False), capsys)
    assert "https://" in said(Options(browser=False, tls_certfile=Path("x")), capsys)


def test_the_names_it_answers_to_follow_the_flags() -> None:
    assert not allowed_hosts(Options()).accepts("192.168.1.2")
    assert allowed_hosts(Options(names=("Pictures.example.com",))).accepts("pictures.example.com:7860")
    assert allowed_hosts(Options(host="0.0.0.0")).accepts("192.168.1.2:7860")
    assert allowed_hosts(Options(host="0.0.0.0")).accepts(socket.gethostname())


@pytest.mark.parametrize("begun", [b"", b"GET /internal/pi", b"GET /internal/ping HTTP/1.1\r\nHost: localhost\r\n"])
@pytest.mark.parametrize("before", [b"", b"GET /internal/ping HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_head_that_does_not_come_whole_is_not_waited_for(
    services: Services, monkeypatch: pytest.MonkeyPatch, before: bytes, begun: bytes
) -> None:
    monkeypatch.setattr(Impatient, "patience", 0.05)
    with serving(services) as server, socket.create_connection(("127.0.0.1", server.config.port), 30) as connection:
        if before:
            connection.sendall(before)
            assert connection.recv(100_000).startswith(b"HTTP/1.1 200")
            begun = begun or b"G"  # a connection that is kept alive may be silent for longer
        connection.sendall(begun)
        while connection.recv(100_000):
            pass


def test_a_stream_and_a_connection_kept_alive_are_not_cut(services: Services) -> None:
    with serving(services) as server:
        for path, words in (("/internal/ping", b"200 OK"), ("/tagbrush/v1/events", b"event: snapshot")):
            with socket.create_connection(("127.0.0.1", server.config.port), 30) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                heard = b""
                while words not in heard:
                    part = connection.recv(100_000)
                    assert part
                    heard += part
                place = connection.getsockname()
                (protocol,) = (found for found in server.server_state.connections if found.client == place)
                assert isinstance(protocol, Impatient)
                assert protocol.late is None
