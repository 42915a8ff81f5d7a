"""The OpenAPI document: what the routes declare, and what holds for all of them said once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from .bodies import PATIENCE
from .errors import ErrorBody

Operation = dict[str, Any]

TAGS = (
    ("jobs", "Submit a request, look at it, stop it, fetch its pictures."),
    ("events", "What happens, as it happens (server-sent events)."),
    ("inputs", "Pictures to start from: uploaded once, then named by their id."),
    ("catalogue", "Checkpoints, VAEs, LoRA, hypernetworks and embeddings: searched, and shown as cards."),
    ("prompts", "Prompts before they are drawn: length, brackets, styles."),
    ("texts", "The texts inside pictures."),
    ("about", "What the program is, how it stands, and what can be chosen."),
    ("A1111", "The API of AUTOMATIC1111's WebUI, for its clients."),
    ("A1111, not in this version", "Routes that its clients may ask for, and are told that they cannot be had."),
)

ALWAYS: Mapping[int, tuple[str, str, str]] = MappingProxyType(
    {
        401: ("A login is needed (only with --api-auth).", "Unauthorized", "A user name and a password are needed."),
        403: (
            "The request comes from a foreign page, or to a name that is not this server's.",
            "Forbidden",
            'A page of "https://example.org" may not use this server.',
        ),
        429: (
            "Too many wrong passwords from this address: try again after the seconds of Retry-After.",
            "TooManyAttempts",
            "Too many wrong passwords for this name. Wait a few seconds, then try again.",
        ),
        500: (
            "A fault of Tagbrush, or a job that failed.",
            "JobFailed",
            "Out of memory: 9 GB are needed, 4 GB are free.",
        ),
        503: (
            "The queue cannot be written just now: try again.",
            "QueueBlocked",
            "The queue file cannot be written: database or disk is full. Is the disk full?",
        ),
    }
)
"""Status, when it comes, and an example's kind and words: errors that any route may answer with."""

WITH_BODY: Mapping[int, tuple[str, str, str]] = MappingProxyType(
    {
        400: (
            "A name that nothing answers to, with the nearest one; or a body that is no text.",
            "UnknownName",
            'Sampler "Eular a" is unknown. Did you mean "Euler a"?',
        ),
        408: (
            "The body came too slowly.",
            "TooSlow",
            f"Nothing of the body came for {PATIENCE:.0f} seconds. Send it again.",
        ),
        413: (
            "The body is larger than may be sent.",
            "TooLarge",
            "More than 64 MB are not taken here. Send less.",
        ),
        422: (
            "A value that cannot be used, with its limits.",
            "BadRequest",
            "steps is 0: Input should be greater than or equal to 1.",
        ),
    }
)
"""The same for routes that take a body."""


def document(app: FastAPI, routers: Iterable[APIRouter]) -> dict[str, Any]:
    """The OpenAPI document of `app`, which has these routers: made once, complete in what each route may answer."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in TAGS],
        )
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute) and route.include_in_schema:
                    _show_nulls(made, route)
        app.openapi_schema = _complete(made)
    return app.openapi_schema


def operation_id(route: APIRoute) -> str:
    """The name that generated clients give the route: `post_tagbrush_v1_jobs`."""
    method = min(route.methods).lower()
    return re.sub(r"\W+", "_", f"{method}{route.path_format}").strip("_")


def _complete(made: dict[str, Any]) -> dict[str, Any]:
    """The document with every error of every route in the one shape that errors have here."""
    schemas = made["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["ErrorBody"] = ErrorBody.model_json_schema()
    made["components"]["securitySchemes"] = {"login": {"type": "http", "scheme": "basic"}}
    made["security"] = [{}, {"login": []}]
    for operation in _operations(made):
        _tell_errors(operation)
    return made


def _show_nulls(made: Mapping[str, Any], route: APIRoute) -> None:
    """Show the examples of the route's answers as they were declared: FastAPI leaves out what is null in them.

    A stream's items too: it takes a stream for one string.
    """
    for method in route.methods:
        answers = made["paths"][route.path_format][method.lower()]["responses"]
        for status, declared in route.responses.items():
            for kind, media in declared.get("content", {}).items():
                if "itemSchema" in media:
                    answers[str(status)]["content"][kind] = media
                elif "example" in media:
                    answers[str(status)]["content"][kind]["example"] = media["example"]


def _operations(made: Mapping[str, Any]) -> Iterator[Operation]:
    for path in made["paths"].values():
        yield from path.values()


def _tell_errors(operation: Operation) -> None:
    """Add the errors that the operation may answer with and did not declare, and their shape to all."""
    responses: dict[str, Any] = operation["responses"]
    known = {**WITH_BODY, **ALWAYS}
    usual = known if "requestBody" in operation else ALWAYS
    for status in usual:
        responses.setdefault(str(status), {})
    for status, response in responses.items():
        if not status.isdecimal() or int(status) < 400:
            continue
        when, error, words = known.get(int(status), ("There is no such thing.", "NotFound", 'There is no job "x".'))
        if response.get("description", "Validation Error") == "Validation Error":
            response["description"] = when
        example = {"error": error, "detail": words, "body": "", "errors": words}
        content = {"schema": {"$ref": "#/components/schemas/ErrorBody"}, "example": example}
        response["content"] = {"application/json": content}
    operation["responses"] = dict(sorted(responses.items()))
