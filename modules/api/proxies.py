"""Who really asks, and for which address, where a reverse proxy stands in between.

What a proxy adds (`X-Forwarded-For`, `-Proto`, `-Host`) is believed from the addresses of `--trusted-proxy` alone, and
taken off every request, so that nothing behind believes it from anybody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .security import Hosts

ADDED_BY_PROXIES = (b"x-forwarded-", b"forwarded", b"x-real-ip", b"x-gradio-server")
"""How the names begin of headers that say where a request came from; the last is gradio's own kind."""

OURS = ("/tagbrush/v1/", "/tagbrush/docs/", "/tagbrush/assets/javascript/", "/tagbrush/assets/css/")
"""Paths that are whole as they stand, even where `--subpath` is /tagbrush: gradio's assets are there too, then."""


@dataclass(frozen=True)
class Proxies:
    """The addresses whose word on a request's origin is taken."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Proxies:
        """Addresses (`10.0.0.5`) and networks (`10.0.0.0/8`). Raises ValueError for anything else."""
        return cls(tuple(ip_network(text.strip(), strict=False) for text in texts))

    def trusts(self, text: str) -> bool:
        """Whether this address is one of them."""
        address = _address(text)
        return address is not None and any(address in network for network in self.networks)

    def client(self, given: str, peer: str) -> str:
        """Who asked: of the addresses in `given` (X-Forwarded-For) the last that is no trusted proxy; else `peer`."""
        found = peer
        for text in reversed(given.split(",")):
            address = _address(text)
            if address is None:
                return found
            found = str(address)
            if not self.trusts(found):
                return found
        return found


class BehindProxy:
    """ASGI middleware that puts scope and headers as if the browser had asked this server itself.

    `subpath` (`/pictures`) is where a proxy shows the server; requests are understood with it, as a proxy hands them
    on that leaves paths alone, and without it. A host that a proxy forwards counts only where the `Host` that came
    with it is one of `hosts` too: a rebound name could otherwise be covered up by the page that was loaded under it.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, proxies: Proxies | None = None, subpath: str = "") -> None:
        self.app, self.hosts, self.proxies, self.subpath = app, hosts, proxies or Proxies(), subpath

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif self.subpath and scope["type"] == "http" and scope["path"] == self.subpath:
            await RedirectResponse(quote(self.subpath) + "/")(scope, receive, send)
        else:
            placed = {**scope, **self._origin(scope), **self._place(scope)}
            await self.app(placed, receive, self._sender(send) if self.subpath else send)

    def _sender(self, send: Send) -> Send:
        """`send`, with the subpath before every path of ours that an answer leads to."""

        async def placed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                path = headers.get("location", "")
                if path.startswith("/") and not path.startswith("//") and self._is_whole(path):
                    headers["location"] = quote(self.subpath) + path
            await send(message)

        return placed

    def _is_whole(self, path: str) -> bool:
        """Whether a path stands without the subpath."""
        return not path.startswith(self.subpath + "/") or path.startswith(OURS)

    def _origin(self, scope: Scope) -> Scope:
        """Client, scheme and headers as they left the browser."""
        headers = Headers(scope=scope)
        kept = [(name, value) for name, value in scope["headers"] if not name.lower().startswith(ADDED_BY_PROXIES)]
        peer = scope.get("client")
        if not peer or not self.proxies.trusts(peer[0]):
            return {"headers": kept}
        scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().casefold()
        host = headers.get("x-forwarded-host", "").rpartition(",")[2].strip()
        if host and self.hosts.accepts(headers.get("host", "")):
            kept = [(name, value) for name, value in kept if name != b"host"] + [(b"host", host.encode("latin-1"))]
        client = self.proxies.client(headers.get("x-forwarded-for", ""), peer[0])
        if scheme not in ("http", "https"):
            return {"headers": kept, "client": (client, 0)}
        secure = scheme == "https"
        web = {"http": ("http", "https"), "websocket": ("ws", "wss")}[scope["type"]][secure]
        return {"headers": kept, "client": (client, 0), "scheme": web}

    def _place(self, scope: Scope) -> Scope:
        """The path below the subpath, in the way of ASGI: both of them in `path`, the subpath in `root_path`."""
        path, raw = scope["path"], scope.get("raw_path") or quote(scope["path"]).encode()
        if not self.subpath:
            return {}
        whole = self._is_whole(path)
        before = quote(self.subpath).encode() if whole else b""
        return {
            "path": (self.subpath if whole else "") + path,
            "raw_path": before + raw,
            "root_path": self.subpath,
        }


def own_path(scope: Scope) -> str:
    """The path of a request below the place at which the server is shown."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in one part of X-Forwarded-For, which may hold a port; an IPv4 one in its own form."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
