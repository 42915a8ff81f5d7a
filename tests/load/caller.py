"""One client's line to the server: calls, asked again while the server is away, streams, and cut connections."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from .ledger import Ledger

PATIENCE = 300.0
"""Seconds for which a client asks again."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    kind: str
    data: Any
    id: int | None


class Unanswered(Exception):
    """The server broke off, or cannot take the request just now."""


class Caller:
    """A client's connections; `endures` says that the server may be away or refuse for a while."""

    def __init__(self, url: str, ledger: Ledger, *, endures: bool) -> None:
        self.url, self.ledger, self.endures = url, ledger, endures
        self.http = httpx.AsyncClient(base_url=url, timeout=PATIENCE)

    async def once(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer. Raises Unanswered where there is none; an error of the server's own is a fault."""
        try:
            answer = await self.http.request(method, path, **options)
        except httpx.TransportError as error:
            if not self.endures:
                self.ledger.complain(f"{method} {path}: {type(error).__name__} {error}")
            raise Unanswered(path) from error
        if answer.status_code == 503 and self.endures:
            self.ledger.counts["asked to come again (503)"] += 1
            raise Unanswered(path)
        if answer.status_code >= 500:
            self.ledger.complain(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, asked for again until there is one: for what may be asked twice. Raises Unanswered at last."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await self.once(method, path, **options)
            except Unanswered:
                if time.monotonic() > deadline or not self.endures:
                    self.ledger.complain(f"{method} {path} was never answered")
                    raise
            await asyncio.sleep(0.3)

    async def look(self, path: str, kind: str) -> Any:
        """The JSON of a status call, which is timed: the call that was answered, however often the server was away."""
        answer = await self.ask("GET", path)
        self.ledger.seconds.append((kind, answer.elapsed.total_seconds()))
        return answer.json()

    @asynccontextmanager
    async def stream(self, path: str, last: int | None = None) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of one connection, which may be left at any time. Raises Unanswered where it breaks."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        try:
            async with self.http.stream("GET", path, headers=headers) as response:
                if response.status_code == 503 and self.endures:
                    raise Unanswered(path)
                if response.status_code != 200:
                    self.ledger.complain(f"GET {path}: {response.status_code}")
                    raise Unanswered(path)
                yield _events(response.aiter_lines())
        except httpx.TransportError as error:
            if not self.endures:
                self.ledger.complain(f"stream {path}: {type(error).__name__} {error}")
            raise Unanswered(path) from error

    async def cut(self, request: bytes, after: float, *, reads: bool) -> None:
        """Send raw bytes and be gone `after` seconds, without a word; `reads`: whether anything is read until then."""
        place = urlsplit(self.url)
        try:
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=4096)
        except OSError:
            return
        try:
            writer.write(request)
            async with asyncio.timeout(after):
                await writer.drain()
                while reads and await reader.read(1000):
                    pass
                await asyncio.sleep(after)
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()

    def plain(self, method: str, path: str, body: Mapping[str, Any] | None = None, cut: int | None = None) -> bytes:
        """The bytes of a request, of its body only the first `cut`."""
        content = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(self.url).netloc}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:cut]

    async def close(self) -> None:
        await self.http.aclose()


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(":")
        if line and name:
            fields[name] = value.removeprefix(" ")
        elif not line and "event" in fields:
            number = int(fields["id"]) if "id" in fields else None
            yield Event(fields["event"], json.loads(fields["data"]), number)
            fields = {}
