"""Which of gradio's routes are open, and what may go through them.

gradio brings some ninety routes; the page needs a dozen. Its routes for files go by path, and would fetch addresses
of the web; its calls take the path of any file in place of an upload's. So each request is looked at here first, and
files are answered here: pictures that somebody gave this page, by the name that their content has.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modules.images import BadPicture, open_picture

Way = Literal["pass", "file", "upload", "call"]

ROUTES: tuple[tuple[tuple[str, ...], str, Way], ...] = (
    (("GET", "HEAD"), r"/|/(assets|static)/.+", "pass"),
    (("GET",), r"/(config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json)", "pass"),
    (("GET",), r"/gradio_api/(startup-events|heartbeat/[\w-]{1,64}|queue/data|upload_progress)", "pass"),
    (("POST",), r"/gradio_api/(reset/?|cancel)", "pass"),
    (("POST",), r"/gradio_api/(queue/join|run/[\w-]{1,64}/?)", "call"),
    (("POST",), r"/gradio_api/upload/?", "upload"),
    (("GET", "HEAD"), r"/gradio_api/file=.*", "file"),
)
"""What is open: methods, path, and what is done with it. Everything else is answered with 404."""

_OPEN = tuple((methods, re.compile(pattern, re.DOTALL), way) for methods, pattern, way in ROUTES)
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Uploads:
    """The folder where gradio keeps what was given to the page: `<sha256>/<name>` each."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Uploads:
        """The folder that gradio uses with these environment variables."""
        return cls(Path(environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir()) / "gradio"))

    def find(self, text: str) -> Path | None:
        """The file that `text`, a path as gradio told it to the page, names; None for everything else.

        There is one way to write each: no link, no `..`, no other spelling of the same place is followed.
        """
        before = f"{self.root}{os.sep}"
        digest, _, name = text[len(before) :].partition(os.sep)
        if not text.startswith(before) or not _DIGEST.fullmatch(digest):
            return None
        if name in ("", ".", "..") or any(char in "/\\\0" or ord(char) < 32 for char in name):
            return None
        path = self.root / digest / name
        try:
            return path if path.resolve(strict=True) == path and path.is_file() else None
        except (OSError, RuntimeError, ValueError):
            return None


class PageRoutes:
    """ASGI middleware around gradio's app that lets through what the page needs."""

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self.app, self.uploads = app, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        way = _way(scope.get("method", ""), path) if scope["type"] == "http" else None
        match way:
            case "pass":
                await self.app(scope, receive, send)
            case "file":
                answer = await run_in_threadpool(self._file, path.removeprefix("/gradio_api/file="))
                await answer(scope, receive, send)
            case "upload":
                await self._upload(scope, receive, send)
            case "call":
                await self._call(scope, receive, send)
            case None if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": "There are no websockets here."})
            case None:
                await _error(404, "NotFound", "There is nothing at this address.")(scope, receive, send)

    def _file(self, text: str) -> Response:
        """A picture that was given to the page; 403 for anything else."""
        path = self.uploads.find(text)
        try:
            data = path.read_bytes() if path else b""
            kind = open_picture(data).get_format_mimetype()
        except (OSError, BadPicture):
            return _error(403, "Forbidden", "Only pictures that were given to this page are served here.")
        headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(data, media_type=kind, headers=headers)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let gradio store the files, then keep those that are pictures by their content."""
        start, body = await _answer(self.app, scope, receive)
        if start["status"] == 200:
            refused = await run_in_threadpool(self._refused, json.loads(body))
            if refused:
                await _error(422, "BadPicture", refused)(scope, receive, send)
                return
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def _refused(self, stored: list[str]) -> str:
        """Why these files are not kept, if one of them is no picture; then all of them are removed."""
        paths = [self.uploads.find(text) for text in stored]
        try:
            for path in paths:
                open_picture(path.read_bytes() if path else b"")
        except (OSError, BadPicture) as error:
            for path in filter(None, paths):
                path.unlink(missing_ok=True)
            return str(error)
        return ""

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through if every file in it is an upload."""
        body = await Request(scope, receive).body()
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            await _error(422, "BadRequest", "The call is no JSON.")(scope, receive, send)
            return
        for path in _paths(given):
            if not isinstance(path, str) or self.uploads.find(path) is None:
                reason = "The call names a file that was not given to this page. Choose it again."
                await _error(403, "Forbidden", reason)(scope, receive, send)
                return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, again, send)


def _way(method: str, path: str) -> Way | None:
    return next((way for methods, pattern, way in _OPEN if method in methods and pattern.fullmatch(path)), None)


def _paths(given: Any) -> Iterator[Any]:
    """The paths of all files in a call's data, wherever they stand."""
    left = [given]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if value.get("path") is not None:
                yield value["path"]
            left += value.values()
        elif isinstance(value, list):
            left += value


async def _answer(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """What `app` answers, once it is complete: how it starts, and the body."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    start = next(message for message in messages if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in messages if message["type"] == "http.response.body")
    return start, body


def _error(status: int, error: str, reason: str) -> JSONResponse:
    return JSONResponse({"error": error, "detail": reason, "body": "", "errors": reason}, status)
