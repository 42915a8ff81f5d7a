"""How much a request may carry: bytes, time, and depth."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modules.images import MAX_BYTES

from .proxies import own_path
from .refusals import refuse

PICTURE = MAX_BYTES + 2**20
"""Bytes of a picture with what a form puts around it."""

PICTURES_AS_TEXT = 2 * PICTURE
"""Bytes of JSON that holds pictures as base64: a large one with its mask, or many of usual size."""

TEXT = 16 * 2**20
"""Bytes of every other body: room for the longest prompts."""

TOGETHER = 2**30
"""Bytes of the bodies that are being received or worked on at the same time, all clients together."""

PATIENCE = 60.0
"""Seconds in which at least something of a body has to come."""

ANYHOW = 64 * 2**10
"""Bytes of each body that are always taken, however much is being received besides."""

DEPTH = 64
"""Lists and objects within each other that JSON may hold."""

PARTS = 50_000
"""Values, lists and objects that it may hold in all: each costs more than its letter or two, most where it is wrong."""


_END = "tagbrush.end_of_body"
"""Where in its scope a request has what ends the counting of its body."""


@dataclass(frozen=True)
class Rule:
    """What the body of a request to the paths of `pattern` may hold.

    A body that is not `whole` is handed on as it comes, so that it need not fit into memory; JSON is looked through.
    """

    pattern: re.Pattern[str]
    most: int
    whole: bool = True


RULES = (
    Rule(re.compile(r"/tagbrush/v1/(inputs|infotext/read)"), PICTURE, whole=False),
    Rule(re.compile(r"/gradio_api/upload/?"), PICTURE, whole=False),
    Rule(re.compile(r"/sdapi/v1/(txt2img|img2img|png-info|interrogate|extra-(single-image|batch-images))"),
         PICTURES_AS_TEXT),
    Rule(re.compile(r".*", re.DOTALL), TEXT),
)  # fmt: skip


class TooMuch(Exception):
    """A body that is refused while it is being read."""

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.error, self.reason = status, error, reason


class LimitBodies:
    """ASGI middleware that refuses bodies that are too large, too slow or too deep, at the first byte that shows it.

    A length that was promised counts at once; without one (`Transfer-Encoding: chunked`) the bytes are counted.
    """

    def __init__(
        self, app: ASGIApp, rules: Iterable[Rule] = RULES, *, together: int = TOGETHER, anyhow: int = ANYHOW
    ) -> None:
        self.app, self._rules, self._together, self._held = app, tuple(rules), together, 0
        self.anyhow = anyhow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        path = own_path(scope)
        rule = next(rule for rule in self._rules if rule.pattern.fullmatch(path))
        reading = _Reading(self, receive, rule)
        try:
            reading.promise(Headers(scope=scope).get("content-length", ""))
            taken = await reading.whole() if rule.whole else reading.part
        except TooMuch as refusal:
            reading.end()
            await _told(refusal)(scope, receive, send)
            return
        try:
            await self._watched({**scope, _END: reading.end}, taken, send, reading)
        finally:
            reading.end()

    async def _watched(self, scope: Scope, receive: Receive, send: Send, reading: _Reading) -> None:
        """Run the app; once its body is refused nothing of its own answer goes out, unless it had begun."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            if reading.refusal is None or begun:
                begun = True
                await send(message)

        try:
            await self.app(scope, receive, sent)
        except TooMuch:
            if begun:
                raise
        if reading.refusal is not None and not begun:
            await _told(reading.refusal)(scope, receive, send)

    def hold(self, count: int) -> None:
        """Count bytes that are kept for a request. Raises TooMuch where there are too many in all."""
        if self._held + count > self._together:
            raise TooMuch(503, "Busy", "Too much is being uploaded at the same time. Try again in a moment.")
        self._held += count

    def let_go(self, count: int) -> None:
        self._held -= count


class _Reading:
    """The body of one request as it comes in."""

    def __init__(self, limits: LimitBodies, receive: Receive, rule: Rule) -> None:
        self._limits, self._receive, self._rule = limits, receive, rule
        self._length = self._held = 0
        self._complete = False
        self.refusal: TooMuch | None = None

    def promise(self, length: str) -> None:
        """Raise for a Content-Length that is too long, before anything is read."""
        if length.isdecimal():
            self._check(int(length[:20]))

    def _check(self, length: int) -> None:
        if length > self._rule.most:
            raise TooMuch(413, "TooLarge", f"More than {self._rule.most >> 20} MB are not taken here. Send less.")

    async def part(self) -> Message:
        """The next part, as an app receives it. Raises TooMuch, now and whenever the app asks again."""
        if self.refusal is not None:
            raise self.refusal
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(PATIENCE):
                message = await self._receive()
            count = len(message.get("body", b""))
            self._length += count
            self._check(self._length)
            more = max(self._length - self._limits.anyhow, 0) - self._held
            self._limits.hold(more)
            self._held += more
        except TimeoutError as error:
            reason = f"Nothing of the body came for {PATIENCE:.0f} seconds. Send it again."
            self.refusal = TooMuch(408, "TooSlow", reason)
            raise self.refusal from error
        except TooMuch as refusal:
            self.refusal = refusal
            raise
        self._complete = not message.get("more_body", False)
        return message

    async def whole(self) -> Receive:
        """All of the body, checked, as something to receive it from."""
        parts: list[bytes] = []
        left: Message | None = None
        while not self._complete:
            message = await self.part()
            if message["type"] != "http.request":
                left = message
                break
            parts.append(message.get("body", b""))
        body = b"".join(parts)
        parts.clear()
        reason = await asyncio.to_thread(too_deep, body) if len(body) > 2**20 else too_deep(body)
        if reason:
            raise TooMuch(422, "BadRequest", reason)
        waiting: list[Message] = [left or {"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting else await self._receive()

        return again

    def end(self) -> None:
        self._limits.let_go(self._held)
        self._held = 0


def forget_body(request: Request) -> None:
    """Forget the body of a request of which everything has been read: its answer may be long in coming."""
    for kept in ("_body", "_json"):  # where starlette keeps it for whoever asks again
        request.__dict__.pop(kept, None)
    end = request.scope.get(_END)
    if end is not None:
        end()


def too_deep(body: bytes) -> str:
    """Why this text, if it is JSON, is not read: how deep it is, or how many parts it has. Empty where nothing is."""
    if not body.lstrip()[:1] or body.lstrip()[:1] not in b"[{\xef\xff\xfe\0":
        return ""
    if json.detect_encoding(body) not in ("utf-8", "utf-8-sig"):
        return "JSON is read as UTF-8 only. Send it in that encoding."
    # Without escapes a quotation mark begins or ends a text; every other part is then outside of texts.
    marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS)
    too_many = f"The JSON has more than {PARTS} values, lists and objects. Send less at a time."
    if marks.count(b'"') > 4 * (PARTS + 1):  # a name and a value for each; more of them are not even taken apart
        return too_many
    outside = b"".join(marks.split(b'"')[::2])
    brackets = outside.translate(None, b",")
    if max(accumulate(map(_STEPS.__getitem__, brackets[: 2 * PARTS])), default=0) > DEPTH:
        return f"The JSON is more than {DEPTH} levels deep. Send plain values, lists and small objects."
    commas = len(outside) - len(brackets)
    return too_many if commas + len(brackets) // 2 > PARTS else ""


_NO_MARKS = bytes(code for code in range(256) if code not in b'[]{}",')
_STEPS = tuple(1 if code in b"[{" else -1 if code in b"]}" else 0 for code in range(256))


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _told(refusal: TooMuch) -> ASGIApp:
    # What is left of the body would be taken for the next request.
    return refuse(refusal.status, refusal.error, refusal.reason, {"Connection": "close"})
