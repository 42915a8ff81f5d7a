"""The page: a shell that is there at once, and the real one behind it as soon as gradio is imported."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from modules.api import Services
from modules.api.proxies import own_path

from .policy import OwnScriptsOnly

log = logging.getLogger(__name__)

UI = Path(__file__).resolve().parents[1] / "ui"
ASSETS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
"""What is served, by its ending, and as what: the registry of Windows may say otherwise."""

APIS = ("/sdapi/", "/tagbrush/")
"""Below these there are routes of ours alone, so that a miss there is told as the API tells it."""

Mount = Callable[[FastAPI, Services], object]


class PageGate:
    """The ASGI app behind every path that is not a route: the shell, later the page that `open` has made."""

    def __init__(self, services: Services, mount: Mount | None, shell: Path = UI / "shell.html") -> None:
        """`mount(app, services)` builds the page into an empty app; None serves no page at all."""
        self._services, self._mount, self._shell = services, mount, shell
        self._page: ASGIApp | None = None
        if mount is None:
            services.page.state = "off"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = own_path(scope)
        if self._page is not None and not path.startswith(APIS):
            await (OwnScriptsOnly(self._page) if _shows_page(scope) else self._page)(scope, receive, send)
        elif scope["type"] == "http":
            await self._placeholder(path, scope.get("root_path", ""))(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})

    async def live(self) -> None:
        """Build the page in a thread, serve it, and end it when the server closes."""
        if self._mount is None:
            return
        app, built = FastAPI(openapi_url=None), asyncio.Event()
        tell = partial(asyncio.get_running_loop().call_soon_threadsafe, built.set)
        # A daemon: nobody who stops the server waits for an import.
        threading.Thread(target=self._build, args=(app, self._mount, tell), name="page", daemon=True).start()
        await built.wait()
        if self._services.page.state == "failed":
            return
        async with app.router.lifespan_context(app):
            self._page, self._services.page.state = app, "ready"
            await self._services.closing.wait()

    def _build(self, app: FastAPI, mount: Mount, tell: Callable[[], object]) -> None:
        """Build the page into `app` and tell when that is over."""
        try:
            mount(app, self._services)
        except Exception as error:
            if self._services.closing.is_set():
                return
            # The edge to the page: whatever breaks there, the API and the queue go on.
            log.exception("The page could not be built")
            self._services.page.state, self._services.page.message = "failed", f"{type(error).__name__}: {error}"
        with suppress(RuntimeError):  # the server has ended meanwhile
            tell()

    def _placeholder(self, path: str, place: str) -> ASGIApp:
        if path != "/":
            reason = f"There is nothing at {path}."
            missing = {"error": "NotFound", "detail": reason, "body": "", "errors": reason}
            may_come = self._services.page.state == "starting" and not path.startswith(APIS)
            return JSONResponse(missing, 503 if may_come else 404)
        if self._mount is None:
            return RedirectResponse(f"{place}/docs")
        shell = FileResponse(self._shell, media_type="text/html", headers={"Cache-Control": "no-store"})
        return OwnScriptsOnly(shell)


def _shows_page(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "GET" and own_path(scope) == "/"


class Assets(StaticFiles):
    """The page's own scripts, styles and drawings, asked for anew each time, so that an update shows at once."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        return super().lookup_path(path) if path.endswith(tuple(ASSETS)) else ("", None)

    def file_response(self, full_path: str | os.PathLike[str], *args: object, **options: object) -> Response:
        response = super().file_response(full_path, *args, **options)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Content-Type"] = ASSETS[Path(full_path).suffix]
        return response


def mount_assets(app: FastAPI) -> None:
    """Serve what the page is made of, and nothing else of its package."""
    app.mount("/tagbrush/assets", Assets(directory=UI), name="assets")
