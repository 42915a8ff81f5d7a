"""Names and passwords, and what guessing them costs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .refusals import refuse

FREE = 5
"""Wrong passwords in a row that cost nothing: a person's mistakes."""

FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
"""Seconds that the first wrong password after those costs, doubled by each further one up to the longest."""

FORGOTTEN_AFTER = 900.0
"""Seconds without a further wrong password after which the count begins anew."""

WAITING = 8
"""Attempts that wait at a time for one name from one address; more of them are sent away at once."""

REMEMBERED = 10_000
"""Names at addresses that are remembered at most; the longest quiet is forgotten first."""


@dataclass
class Guesses:
    """How often a name was tried with a wrong password from one address."""

    wrong: int = 0
    last: float = 0.0
    waiting: int = 0


class SlowDown:
    """Makes guessing slow: per name and client address, so that nobody else waits, whatever is guessed.

    A right password waits as long as a wrong one would, else the wait would tell which is which; then it counts the
    guesses of its name off. Works on one event loop.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, Guesses] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def wait(self, key: bytes) -> float:
        """Seconds that the next attempt has to wait."""
        guesses = self._known.get(key)
        if guesses is None or self._clock() - guesses.last > FORGOTTEN_AFTER or guesses.wrong < FREE:
            return 0.0
        return min(FIRST_WAIT * 2.0 ** min(guesses.wrong - FREE, 10), LONGEST_WAIT)

    async def admit(self, key: bytes) -> bool:
        """Wait what an attempt has to wait; False for one too many at a time."""
        seconds = self.wait(key)
        if seconds == 0:
            return True
        guesses = self._known[key]
        if guesses.waiting >= WAITING:
            return False
        guesses.waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            guesses.waiting -= 1
        return True

    def wrong(self, key: bytes) -> None:
        """Count a wrong password."""
        guesses = self._known.setdefault(key, Guesses())
        now = self._clock()
        guesses.wrong = 1 if now - guesses.last > FORGOTTEN_AFTER else guesses.wrong + 1
        guesses.last = now
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def right(self, key: bytes) -> None:
        """Forget what was counted: whoever knows the password may have mistyped it."""
        self._known.pop(key, None)


class AskPassword:
    """ASGI middleware that lets in only who knows one of the logins, each `user:password` (HTTP Basic)."""

    def __init__(self, app: ASGIApp, logins: Iterable[str], slow_down: SlowDown | None = None) -> None:
        self.app = app
        # Old clients send what is no ASCII in Latin 1.
        self._known = tuple({_digest(_encoded(login, code)) for login in logins for code in ("utf-8", "latin-1")})
        self._slow_down = SlowDown() if slow_down is None else slow_down

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        login = _login(Headers(scope=scope).get("authorization", ""))
        if login is None:  # a browser's first request: nothing was guessed
            await self._ask(scope, receive, send)
            return
        key = _key(scope.get("client"), login)
        if not await self._slow_down.admit(key):
            headers = {"Retry-After": str(int(LONGEST_WAIT))}
            reason = "Too many wrong passwords for this name. Wait a few seconds, then try again."
            await refuse(429, "TooManyAttempts", reason, headers)(scope, receive, send)
        elif self._knows(login):
            self._slow_down.right(key)
            await self.app(scope, receive, send)
        else:
            self._slow_down.wrong(key)
            await self._ask(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"WWW-Authenticate": 'Basic realm="Tagbrush", charset="UTF-8"'}
        reason = "A user name and a password are needed."
        await refuse(401, "Unauthorized", reason, headers)(scope, receive, send)

    def _knows(self, login: bytes) -> bool:
        given = _digest(login)
        # Every login is compared, in constant time and at one length: how long it takes tells nothing of them.
        matches = [hmac.compare_digest(given, known) for known in self._known]
        return any(matches)


def _login(header: str) -> bytes | None:
    """The `user:password` of an Authorization header; None where it holds none."""
    scheme, _, given = header.partition(" ")
    if scheme.casefold() != "basic":
        return None
    try:
        login = base64.b64decode(given.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return login if b":" in login else None


def _key(client: tuple[str, int] | None, login: bytes) -> bytes:
    """What guesses are counted by: the name, and the address or, where a person has a whole network, that."""
    place = client[0] if client else ""
    try:
        address = ip_address(place)
    except ValueError:
        address = None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        place = str(ip_network((address, 64), strict=False))
    return _digest(place.encode() + b"\0" + login.partition(b":")[0])


def _encoded(login: str, code: str) -> bytes:
    try:
        return login.encode(code)
    except UnicodeEncodeError:
        return login.encode()


def _digest(data: bytes) -> bytes:
    return sha256(data).digest()
