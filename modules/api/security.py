"""Which requests may come in at all: those of our own pages, and of programs that are not pages.

A server on this machine is reachable by every page the user's browser has open. Two headers that a page cannot
forge keep those out: `Host` names the address the browser believes it talks to (so a rebound DNS name shows), and
`Origin` or `Sec-Fetch-Site` name the page that asks. Programs send neither of the last two and pass. Links pass too,
so every answer forbids other sites to show it in a frame, where a person could be led to click what they do not see.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refusals import refuse

_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[\w.-]+))(?::\d+)?", re.ASCII)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
NOBODYS = (".localhost", ".local", ".internal", ".home.arpa")
"""How names end that the public name service gives to nobody (RFC 6761, 6762, 8375, and ICANN for .internal)."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

NO_FOREIGN_FRAMES = {"Content-Security-Policy": "frame-ancestors 'self'", "X-Frame-Options": "SAMEORIGIN"}
ALWAYS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
"""What every answer says: it is what it is called, and its address is nobody else's business."""


@dataclass(frozen=True)
class Hosts:
    """The names under which this server may be addressed.

    A page can be reached under its own name first and lead that name to this machine later (DNS rebinding), so a name
    is accepted from the list alone, or where no page of a stranger can have it: names without a dot, as Docker and
    home networks give them, and those that are kept for private networks. An address written in digits cannot be
    rebound, so a server that listens to the network accepts any of them.
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
        if name in self.names or _is_private(name):
            return True
        return _is_address(name) and (self.any_address or ip_address(name).is_loopback)


@dataclass(frozen=True)
class Origins:
    """The pages of other addresses that may use this server; none by default."""

    listed: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None

    @classmethod
    def of(cls, listed: Iterable[str], pattern: str = "") -> Origins:
        """Those in a list (`https://example.com`; `*` is any), and those that a pattern matches from end to end.

        Raises re.error for a pattern that is none.
        """
        names = frozenset(origin.strip().rstrip("/").casefold() for origin in listed)
        return cls(names, re.compile(pattern) if pattern else None)

    @property
    def anyone(self) -> bool:
        return "*" in self.listed

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin`, as a browser writes it, may ask and read."""
        return self.anyone or origin in self.listed or bool(self.pattern and self.pattern.fullmatch(origin))


NO_ORIGINS = Origins()


class OwnPagesOnly:
    """ASGI middleware that answers 403 to a foreign name or a foreign page, before anything else runs.

    It alone says what pages of other addresses may do: what an app behind it says of that is taken off its answers.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, origins: Origins = NO_ORIGINS) -> None:
        self.app, self.hosts, self.origins = app, hosts, origins
        self._shared = CORSMiddleware(
            self._unshared,
            allow_origins=sorted(origins.listed),
            allow_origin_regex=origins.pattern.pattern if origins.pattern else None,
            allow_methods=METHODS,
            allow_headers=("*",),
            allow_credentials=not origins.anyone,
            allow_private_network=True,
            expose_headers=("Location", "X-Process-Time"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in NO_FOREIGN_FRAMES.items():
                    headers.append(name, value)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        reason = refusal(headers, self.hosts, self.origins)
        if reason is not None:
            await refuse(403, "Forbidden", reason)(scope, receive, guarded)
        elif is_foreign(headers):
            await self._shared(scope, receive, guarded)
        else:
            await self._unshared(scope, receive, guarded)

    async def _unshared(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app, without what it says itself of pages of other addresses."""

        async def silent(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [
                    pair for pair in message.get("headers", ()) if not pair[0].lower().startswith(b"access-control-")
                ]
                message = {**message, "headers": kept}
            await send(message)

        await self.app(scope, receive, silent)


def is_foreign(headers: Headers) -> bool:
    """Whether a page of another address asks."""
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        place = urlsplit(origin).netloc.casefold()
    except ValueError:
        return True
    return place != headers.get("host", "").casefold()


def refusal(headers: Headers, hosts: Hosts, origins: Origins = NO_ORIGINS) -> str | None:
    """Why a request with these headers is turned away, in words; None if it may pass."""
    host = headers.get("host", "")
    if not hosts.accepts(host):
        return (
            f'This server does not answer to the name "{host}". Open it as http://127.0.0.1 with its port, '
            "or allow the name with --allow-host."
        )
    origin = headers.get("origin")
    if origin is not None:
        if is_foreign(headers) and not origins.allows(origin):
            return (
                f'A page of "{origin}" may not use this server, which is "{host}". If it is yours, allow it with '
                "--cors-allow-origins; a reverse proxy has to hand on the Host it was asked for."
            )
        return None
    navigates = headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not navigates:  # another port is another page
        return "A page of another site may not use this server."
    return None


def _name(host: str) -> str:
    """`host` without port and brackets, in lower case; empty for what is no host at all."""
    match = _HOST.fullmatch(host.casefold())
    return match["address"] or match["name"] if match else ""


def _is_private(name: str) -> bool:
    """Whether this is a name, and one that nobody can get for a page on the internet."""
    is_name = name != "" and ":" not in name
    return is_name and ("." not in name or name.endswith(NOBODYS))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


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
