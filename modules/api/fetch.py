"""Pictures that a request names by their address on the web (A1111's `api_enable_requests`), fetched with care.

The address of a request decides whom this machine talks to, so it must not lead into the network that the machine
stands in. What counts is the address that is connected to: a name is looked up once, all that it stands for is
checked, and the connection goes to one of those addresses, so that a name cannot mean another place a moment later.
Redirections take the same way.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urljoin, urlsplit

import httpcore

from modules.engine.offline import leaving
from modules.images import MAX_BYTES, BadPicture, decode_base64, open_picture, whole_picture
from modules.params import Settings

SECONDS = 30.0
"""How long all of it may take: looking up names, connecting, redirections, and every byte."""

REDIRECTIONS = 5
ADDRESSES = 4
"""How many of a name's addresses are tried."""

MOVED = (301, 302, 303, 307, 308)
USER_AGENT = "Tagbrush"
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))

Resolve = Callable[[str, int], Iterable[str]]
Clock = Callable[[], float]


class NotFetched(BadPicture):
    """A picture that was not fetched from the web, and why."""


def picture_of(text: str, settings: Settings) -> bytes:
    """The file that a text of a request stands for, known to be a whole picture. Raises BadPicture."""
    data = file_of(text, settings)
    whole_picture(data)
    return data


def file_of(text: str, settings: Settings) -> bytes:
    """The bytes that a text stands for: base64, a data URI, or where the settings allow it an address.

    Raises BadPicture; whether the bytes are a picture is still to be seen.
    """
    if not is_address(text):
        return decode_base64(text)
    if not settings.api_enable_requests:
        raise NotFetched(
            "Pictures are not fetched from the network. Send the picture itself, as base64, or let the owner of this "
            'server turn on "api_enable_requests" in its config.json.'
        )
    return fetch_picture(text, allow_local=not settings.api_forbid_local_requests, user_agent=settings.api_useragent)


def is_address(text: str) -> bool:
    """Whether this is an address on the web rather than base64."""
    return text[:8].casefold().startswith(("http://", "https://"))


def fetch_picture(url: str, *, allow_local: bool = False, user_agent: str = "") -> bytes:
    """The file at an address, recognised as a picture by its content. Raises NotFetched.

    `allow_local` also lets it come from this machine and its own network.
    """
    return Fetch(allow_local, user_agent or USER_AGENT).picture(url)


def is_public(text: str) -> bool:
    """Whether an address is one of the public network, also where it only wraps up one of the old kind."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inside = _inside(address)
        if inside is not None and not is_public(str(inside)):
            return False
        if address.ipv4_mapped is not None or address in _NAT64[0]:
            return True
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a request to an IPv6 one ends at: mapped, 6to4, Teredo or translated."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def resolve(name: str, port: int) -> list[str]:
    """The addresses a name stands for. Raises OSError."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class Fetch:
    """One way to fetch; `resolve` and `clock` are the machine's own."""

    allow_local: bool = False
    user_agent: str = USER_AGENT
    seconds: float = SECONDS
    most: int = MAX_BYTES
    resolve: Resolve = resolve
    clock: Clock = time.monotonic

    def picture(self, url: str) -> bytes:
        """The file at `url`. Raises NotFetched."""
        end = self.clock() + self.seconds
        backend = _Guarded(self, end)
        try:
            with (
                leaving(),
                httpcore.ConnectionPool(
                    ssl_context=ssl.create_default_context(), network_backend=backend, max_connections=1
                ) as pool,
            ):
                data = self._followed(pool, url, end)
        except NotFetched:
            raise
        except (
            OSError,
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            ssl.SSLError,
        ) as error:
            raise NotFetched(f'"{_shown(url)}" could not be fetched. {_words(error)}') from error
        except (httpcore.UnsupportedProtocol, ValueError) as error:
            raise NotFetched(f'"{_shown(url)}" is no address that can be fetched.') from error
        try:
            open_picture(data)
        except BadPicture as error:
            raise NotFetched(f'What is at "{_shown(url)}" is no picture. {error}') from error
        return data

    def _followed(self, pool: httpcore.ConnectionPool, url: str, end: float) -> bytes:
        """What is at `url`, or where it sends us."""
        for _ in range(REDIRECTIONS + 1):
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise NotFetched(f'"{_shown(url)}" is no address that can be fetched. Give one with http or https.')
            if parts.username is not None or parts.password is not None:
                raise NotFetched("An address with a name and a password in it is not fetched. Send the picture itself.")
            url = parts._replace(fragment="").geturl()
            answer = self._answer(pool, url, end)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise NotFetched(f'"{_shown(url)}" sends on more than {REDIRECTIONS} times. Give the address of the picture.')

    def _answer(self, pool: httpcore.ConnectionPool, url: str, end: float) -> bytes | str:
        """The body of the answer, or the address it redirects to."""
        left = self._left(end)
        timeout = {"connect": left, "read": left, "write": left, "pool": left}
        headers = {"User-Agent": self.user_agent, "Accept": "image/*", "Accept-Encoding": "identity"}
        with pool.stream("GET", url, headers=headers, extensions={"timeout": timeout}) as response:
            told = {name.lower(): value for name, value in response.headers}
            if response.status in MOVED and b"location" in told:
                return told[b"location"].decode("latin-1")
            if response.status != 200:
                raise NotFetched(f'"{_shown(url)}" was answered with {response.status}. Check the address.')
            self._check(int(told.get(b"content-length", b"0") or 0))
            parts: list[bytes] = []
            length = 0
            for part in response.iter_stream():
                length += len(part)
                self._check(length)
                self._left(end)
                parts.append(part)
        return b"".join(parts)

    def _check(self, length: int) -> None:
        if length > self.most:
            raise NotFetched(f"The picture is larger than {self.most // 2**20} MB. Save it smaller.")

    def _left(self, end: float) -> float:
        """Seconds that are left. Raises NotFetched for none."""
        left = end - self.clock()
        if left <= 0:
            raise NotFetched(f"The picture did not come within {self.seconds:.0f} seconds. Send it itself, as base64.")
        return left

    def addresses(self, name: str, port: int, end: float) -> list[str]:
        """Where a name leads, all of it checked. Raises NotFetched where one of them is not to be talked to."""
        found = self._resolved(name, port, self._left(end))
        if not found:
            raise NotFetched(f'"{name}" is not known. Check the address.')
        if not self.allow_local and not all(map(is_public, found)):
            raise NotFetched(
                f'"{name}" is in this machine\'s own network, from which nothing is fetched. Send the picture itself.'
            )
        return found[:ADDRESSES]

    def _resolved(self, name: str, port: int, seconds: float) -> list[str]:
        """The addresses of a name. The system's look-up knows no time limit, so it is left behind when it is late."""
        found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                found.put([str(address) for address in self.resolve(name, port)])
            except (OSError, ValueError) as error:
                found.put(error)

        within = copy_context()  # in which this machine may be left
        threading.Thread(target=within.run, args=(look_up,), name="look-up", daemon=True).start()
        try:
            answer = found.get(timeout=seconds)
        except queue.Empty:
            raise NotFetched(f'"{name}" was not found within {self.seconds:.0f} seconds.') from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Guarded(httpcore.NetworkBackend):
    """Connections to checked addresses only, within the time that is left."""

    def __init__(self, fetch: Fetch, end: float) -> None:
        self._fetch, self._end, self._plain = fetch, end, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = OSError(f"{host} does not answer")
        for address in self._fetch.addresses(host, port, self._end):
            left = self._fetch._left(self._end)
            try:
                stream = self._plain.connect_tcp(address, port, min(left, 10.0), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
                continue
            peer = str(stream.get_extra_info("server_addr")[0])
            if not self._fetch.allow_local and not is_public(peer):
                stream.close()
                raise NotFetched(f'"{host}" led into this machine\'s own network. Send the picture itself.')
            return _Timed(stream, self._fetch, self._end)
        raise failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        raise NotFetched("Pictures are fetched over the network only.")


class _Timed(httpcore.NetworkStream):
    """A connection whose every wait is bounded by what is left of all the time."""

    def __init__(self, stream: httpcore.NetworkStream, fetch: Fetch, end: float) -> None:
        self._stream, self._fetch, self._end = stream, fetch, end

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._fetch._left(self._end))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._fetch._left(self._end))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._fetch._left(self._end)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._fetch, self._end)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _shown(url: str) -> str:
    """The address for a message: without what a query may hold."""
    return url.partition("?")[0][:200]


def _words(error: Exception) -> str:
    text = str(error).strip()
    if isinstance(error, httpcore.TimeoutException) or not text:
        return "It did not come within the time for it. Send the picture itself, as base64."
    return f"{text}. Check the address."
