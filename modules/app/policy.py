"""What the page may load: this server's own files and scripts, whatever gets into its texts (Content-Security-Policy).

The scripts written into the page are known by their hashes, so one that came in through a name, a prompt or a file's
own words does not run even where escaping it was forgotten; nor do `onerror=` and `javascript:`.
"""

from __future__ import annotations

import base64
import gzip
import re
from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

RULES = {
    "default-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
"""Besides its scripts."""

_INLINE = re.compile(rb"<script(?P<given>[^>]*)>(?P<text>.*?)</script>", re.DOTALL | re.IGNORECASE)


class OwnScriptsOnly:
    """ASGI app around one that answers with a page: it holds the page back until its policy is known."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        # Compressed, the page's scripts could not be read.
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, keep)
        body, headers = b"".join(parts), MutableHeaders(scope=start)
        headers["Content-Security-Policy"] = policy(body)
        if "gzip" in Headers(scope=scope).get("accept-encoding", "") and scope["method"] == "GET":
            body = gzip.compress(body, 6)
            headers["Content-Encoding"], headers["Content-Length"] = "gzip", str(len(body))
            headers.add_vary_header("Accept-Encoding")
        await send(start)
        await send({"type": "http.response.body", "body": body})


def policy(page: bytes) -> str:
    """The policy of a page: scripts of this server, and those written into the page as it was made.

    `'unsafe-eval'` is for gradio, which makes functions of the handlers that the page's own code gives it.
    """
    texts = [match["text"] for match in _INLINE.finditer(page) if b"src=" not in match["given"]]
    hashes = " ".join(f"'sha256-{base64.b64encode(sha256(text).digest()).decode()}'" for text in texts)
    rules = {**RULES, "script-src": f"'self' 'unsafe-eval' {hashes}".strip()}
    return "; ".join(f"{name} {value}" for name, value in rules.items())
