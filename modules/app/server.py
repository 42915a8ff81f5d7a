"""The HTTP server: a free port, one line when it is ready, and an end at the first Ctrl+C."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from modules.api import End, Services
from modules.params import TagbrushError

PORTS_TRIED = 20
PATIENCE = 30.0
"""Seconds in which the head of a request has to come; for its body see `modules.api.bodies`."""

NOISE = (
    "Cancel %s running task",
    "Exception in ASGI application",
    "Exception in callback _ProactorBasePipeTransport._call_connection_lost",  # asyncio's on Windows
)


class PortTaken(TagbrushError):
    """No port to serve on."""


def bind(host: str, port: int | None, first: int) -> socket.socket:
    """A bound socket: on `port` if one is asked for, else on the next free one from `first` on.

    Raises PortTaken when the port, or twenty of them, are in use, and when the address is not this machine's.
    """
    for candidate in [port] if port else range(first, first + PORTS_TRIED):
        try:
            return _bound(host, candidate)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES) and getattr(error, "winerror", None) != 10048:
                raise PortTaken(
                    f"Cannot serve on {host}: {error.strerror or error}. Give an address of this machine."
                ) from error
    if port:
        raise PortTaken(
            f"Port {port} is in use, perhaps by another Tagbrush, or not allowed. "
            "Stop that program, or give another --port."
        )
    raise PortTaken(f"The ports {first} to {first + PORTS_TRIED - 1} are all in use. Give a free one with --port.")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only on sockets that say that they are TCP's; on others each
    # answer waits 40 ms for the client to confirm its first packet.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # On Windows SO_REUSEADDR would let two servers share the port.
        option = socket.SO_EXCLUSIVEADDRUSE if os.name == "nt" else socket.SO_REUSEADDR
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


class Impatient(H11Protocol):
    """HTTP/1.1 that closes a connection on which the head of a request does not come whole in time.

    It may be as slow as it likes before and after: kept alive between requests, and in answers such as our streams.
    """

    patience = PATIENCE
    late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Count the time from the first byte on, as long as a head is being waited for."""
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self.late is None:
            self.late = self.loop.call_later(self.patience, self.timeout_keep_alive_handler)

    def _unwatch(self) -> None:
        if self.late is not None:
            self.late.cancel()
            self.late = None


class Server(uvicorn.Server):
    """uvicorn's server that calls `on_ready` when it answers, and tells the services at once when it is to end."""

    def __init__(
        self,
        app: FastAPI,
        services: Services,
        *,
        on_ready: Callable[[], None],
        tls_keyfile: Path | None = None,
        tls_certfile: Path | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            http=Impatient,
            # Longer than clients wait between two looks at the progress: a connection must not close under a request.
            timeout_keep_alive=75,
            # Streams of ours end by themselves; half a second is for those of the page.
            timeout_graceful_shutdown=0.5,  # type: ignore[arg-type]
            ssl_keyfile=tls_keyfile,
            ssl_certfile=tls_certfile,
            server_header=False,
            # Who asks, where a proxy stands before the server, is decided by our own middleware.
            proxy_headers=False,
        )
        super().__init__(config)
        self._services, self._on_ready = services, on_ready
        services.ending.end = self._end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def _end(self, how: End) -> None:
        """End in order, whatever a client has asked for; what comes after that is for others to see."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.closing.set()
        await super().shutdown(sockets)


class Noise(logging.Filter):
    """Keeps back what is said of streams cut at the end, of errors logged already, and of browsers that left."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(NOISE)
