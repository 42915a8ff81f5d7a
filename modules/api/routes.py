"""All routes, in the order in which they are tried."""

from __future__ import annotations

from fastapi import FastAPI

from . import (
    about,
    catalogue,
    events,
    extras,
    inputs,
    internal,
    jobs,
    listings,
    options,
    prompts,
    sdapi,
    stopping,
    texts,
    unbuilt,
)

ROUTERS = (
    jobs.router,
    events.router,
    inputs.router,
    catalogue.router,
    prompts.router,
    about.router,
    texts.router,
    sdapi.router,
    listings.router,
    options.router,
    extras.router,
    unbuilt.router,
    internal.router,
    stopping.router,
)


def include_routes(app: FastAPI) -> None:
    """Add every route to `app`, whose `state.services` they use."""
    for router in ROUTERS:
        app.include_router(router)
