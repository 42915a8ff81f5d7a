"""Which requests may come in at all: those of our own pages, and of programs that are not pages.

A server on this machine is reachable by every page the user's browser has open. Two headers that a page cannot
forge keep those out: `Host` names the address the browser believes it talks to (so a rebound DNS name shows), and
`Origin` or `Sec-Fetch-Site` name the page that asks. Programs send neither of the last two and pass. Links pass too,
so every answer forbids other sites to show it in a frame, where a person could be led to click what they do not see.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[\w.-]+))(?::\d+)?", re.ASCII)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
NO_FOREIGN_FRAMES = {"Content-Security-Policy": "frame-ancestors 'self'", "X-Frame-Options": "SAMEORIGIN"}


@dataclass(frozen=True)
class Hosts:
    """The names under which this server may be addressed.

    An address written in digits cannot be rebound, so a server that listens to the network accepts any of them;
    names it accepts only from the list, which always holds the loopback names.
    """

    names: frozenset[str] = LOOPBACK
    any_address: bool = False

    @classmethod
    def loopback(cls) -> Hosts:
        """The names of a server that only this machine reaches."""
        return cls()

    @classmethod
    def network(cls, names: Iterable[str]) -> Hosts:
        """The names of a server that listens to the network: `names`, and every address in digits."""
        return cls(LOOPBACK | {name.casefold() for name in names}, any_address=True)

    def accepts(self, host: str) -> bool:
        """Whether `host`, as it stands in a `Host` header, is one of ours."""
        name = _name(host)
        if name in self.names:
            return True
        return _is_address(name) and (self.any_address or ip_address(name).is_loopback)


class OwnPagesOnly:
    """ASGI middleware that answers 403 to a foreign name or a foreign page, before anything else runs."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                for name, value in NO_FOREIGN_FRAMES.items():
                    MutableHeaders(scope=message).append(name, value)
            await send(message)

        reason = refusal(Headers(scope=scope), self.hosts)
        if reason is None:
            await self.app(scope, receive, unframed)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            await _error(403, "Forbidden", reason)(scope, receive, unframed)


def refusal(headers: Headers, hosts: Hosts) -> str | None:
    """Why a request with these headers is turned away, in words; None if it may pass."""
    host = headers.get("host", "")
    if not hosts.accepts(host):
        return (
            f'This server does not answer to the name "{host}". Open it as http://127.0.0.1 with its port, '
            "or allow the name with --allow-host."
        )
    origin = headers.get("origin")
    if origin is not None:
        if urlsplit(origin).netloc.casefold() != host.casefold():
            return f'A page of "{origin}" may not use this server.'
        return None
    navigates = headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") == "cross-site" and not navigates:
        return "A page of another site may not use this server."
    return None


def _name(host: str) -> str:
    """`host` without port and brackets, in lower case; empty for what is no host at all."""
    match = _HOST.fullmatch(host.casefold())
    return match["address"] or match["name"] if match else ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class AskPassword:
    """ASGI middleware that lets in only who knows one of the logins, each `user:password` (HTTP Basic)."""

    def __init__(self, app: ASGIApp, logins: Iterable[str]) -> None:
        self.app = app
        self._known = tuple(base64.b64encode(login.encode()) for login in logins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._knows(Headers(scope=scope).get("authorization", "")):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "A login is needed."})
        else:
            headers = {"WWW-Authenticate": 'Basic realm="Tagbrush", charset="UTF-8"'}
            await _error(401, "Unauthorized", "A user name and a password are needed.", headers)(scope, receive, send)

    def _knows(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        token = given.strip().encode()
        # Every login is compared, in constant time: how long it takes tells nothing of them.
        matches = [hmac.compare_digest(token, known) for known in self._known]
        return scheme.casefold() == "basic" and any(matches)


class TellTime:
    """ASGI middleware that says in `X-Process-Time` how many seconds an answer took to begin."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Process-Time"] = f"{time.perf_counter() - begun:.4f}"
            await send(message)

        await self.app(scope, receive, timed)


def _error(status: int, error: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    body = {"error": error, "detail": detail, "body": "", "errors": detail}
    return Response(json.dumps(body), status, headers, media_type="application/json")
