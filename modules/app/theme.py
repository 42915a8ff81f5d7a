"""Which look the page begins with, where the owner has one in mind: A1111's `?__theme=dark`."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PARAMETER = "__theme"


class PreferTheme:
    """ASGI middleware that leads whoever opens the page without naming a look to the one of the owner's."""

    def __init__(self, app: ASGIApp, theme: str) -> None:
        self.app, self.theme = app, theme

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = scope.get("query_string", b"").decode("latin-1")
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and scope["method"] == "GET" and path in ("", "/") and not _names_theme(given):
            query = "&".join(part for part in (given, f"{PARAMETER}={self.theme}") if part)
            # A link of this page itself, so that it holds below whatever path a proxy shows it.
            await RedirectResponse(f"?{query}", headers={"Cache-Control": "no-store"})(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _names_theme(query: str) -> bool:
    return PARAMETER in parse_qs(query, keep_blank_values=True)
