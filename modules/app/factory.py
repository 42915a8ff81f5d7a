"""The app factory: middleware, routes and page around the services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from modules.api import (
    AskPassword,
    BehindProxy,
    Hosts,
    LimitBodies,
    Origins,
    OwnPagesOnly,
    Proxies,
    Services,
    TellTime,
    include_routes,
    install_error_handlers,
)

from .docs import mount_docs
from .page import Mount, PageGate, mount_assets
from .theme import PreferTheme

LONGEST_QUIET = 10.0
"""Seconds after which the worker stops holding back even if no browser has shown the page."""

SHORTEST_END = 0.5
"""Seconds that the page gets to end in order; one that is still being built is left behind."""

DESCRIPTION = """
Two APIs on one queue: **/tagbrush/v1** submits jobs and follows them by events, **/sdapi/v1** speaks the language of
AUTOMATIC1111's WebUI and waits. Every error is `{error, detail, body, errors}`; `detail` is a sentence for a person.
"""


def create_app(
    services: Services,
    *,
    hosts: Hosts | None = None,
    origins: Origins | None = None,
    proxies: Proxies | None = None,
    subpath: str = "",
    theme: str | None = None,
    logins: Iterable[str] = (),
    mount: Mount | None = None,
) -> FastAPI:
    """The whole server: its lifespan starts the worker and the watching of folders, and ends both.

    `hosts` are the names it answers to, `origins` the foreign pages that may use it, `proxies` and `subpath` what
    stands before it. `mount` builds the page (see `PageGate`); without it the API is served alone.
    """
    hosts = hosts or Hosts.loopback()
    gate = PageGate(services, mount)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(services, gate):
            yield

    app = FastAPI(
        title="Tagbrush",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # Some clients of A1111 name no type of their JSON. Foreign pages, which must not, are known by their Origin.
        strict_content_type=False,
    )
    app.state.services = services
    install_error_handlers(app)
    # The innermost first: whoever may not come in is sent away before a body of theirs is read.
    app.add_middleware(LimitBodies)
    if theme is not None and mount is not None:
        app.add_middleware(PreferTheme, theme=theme)
    if tuple(logins):
        app.add_middleware(AskPassword, logins=tuple(logins))
    app.add_middleware(TellTime)
    app.add_middleware(OwnPagesOnly, hosts=hosts, origins=origins or Origins())
    app.add_middleware(BehindProxy, hosts=hosts, proxies=proxies, subpath=subpath)
    include_routes(app)
    mount_docs(app)
    mount_assets(app)
    # Not a mount: that would take a known path with an unknown method, which is 405, for one of the page.
    app.router.default = gate
    return app


@asynccontextmanager
async def _running(services: Services, gate: PageGate) -> AsyncIterator[None]:
    """Everything that lives as long as the server does."""
    services.catalogue.watch(services.jobs.files_changed)
    services.jobs.start()
    seconds = 0.0 if services.page.state == "off" else LONGEST_QUIET
    quiet = asyncio.get_running_loop().call_later(seconds, services.jobs.page_loaded)
    page = asyncio.create_task(gate.live())
    try:
        yield
    finally:
        services.closing.set()
        quiet.cancel()
        await asyncio.wait({page}, timeout=SHORTEST_END)
        page.cancel()
        await asyncio.to_thread(services.jobs.close)
        await asyncio.to_thread(services.catalogue.close)
