"""All routes, in the order in which they are tried."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI

from . import (
    about,
    catalogue,
    choices,
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
from .openapi import document, operation_id

ROUTERS = (
    jobs.router,
    events.router,
    inputs.router,
    catalogue.router,
    prompts.router,
    about.router,
    choices.router,
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
    """Add every route to `app`, whose `state.services` they use, and describe them all in its OpenAPI document."""
    for router in ROUTERS:
        app.include_router(router, generate_unique_id_function=operation_id)
    app.openapi = partial(document, app, ROUTERS)  # type: ignore[method-assign]
