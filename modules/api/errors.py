"""Every error as one JSON shape, the one A1111's clients read: `{error, detail, body, errors}`."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from modules.catalogue.texts import sendable
from modules.images import BadPicture
from modules.jobs import QueueBlocked, UnknownJob
from modules.params import BadFile, BadRequest, TagbrushError, UnknownName
from modules.params.wrongs import in_words

log = logging.getLogger(__name__)

PLACES = ("body", "query", "path", "header", "txt2img", "img2img")


class ErrorBody(BaseModel):
    """What every answer from 400 up holds."""

    error: str = Field(description="The kind of error.", examples=["UnknownName"])
    detail: Any = Field(
        description="What is wrong, what was got, and what to do.",
        examples=['Sampler "Eular a" is unknown. Did you mean "Euler a"?'],
    )
    body: str = Field("", description="Always empty; A1111's clients expect the key.")
    errors: str = Field("", description="The same in one line, for clients that show only this.")


class NotFound(TagbrushError):
    """Something asked for by an id that nothing has."""


class Unsupported(TagbrushError):
    """Something that A1111 can do and this version cannot, asked for in a way that may not be passed over."""


class JobFailed(TagbrushError):
    """A job that ended without its pictures, told to a client that waited for them."""


class JobRefused(TagbrushError):
    """A job that failed for a mistake in what was asked for, told to a client that waited for it."""


STATUS: tuple[tuple[type[TagbrushError], int], ...] = (
    (UnknownName, 400),
    (NotFound, 404),
    (UnknownJob, 404),
    (BadRequest, 422),
    (BadFile, 422),
    (BadPicture, 422),
    (Unsupported, 422),
    (JobRefused, 422),
    (JobFailed, 500),
    (QueueBlocked, 503),
)

RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "A name that nothing answers to; the nearest one is in the message."},
    422: {"model": ErrorBody, "description": "A value that cannot be used, with its limits."},
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody, "description": "There is no such thing."}}


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of `app` in the one shape."""
    app.add_exception_handler(TagbrushError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


def answer(status: int, error: str, detail: Any) -> JSONResponse:
    """The JSON answer for one error."""
    detail = sendable(detail)  # it may repeat what was sent, and JSON can spell what no text holds
    text = detail if isinstance(detail, str) else str(detail)
    return JSONResponse(ErrorBody(error=error, detail=detail, errors=text).model_dump(), status)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 400)
    return answer(status, type(error).__name__, str(error))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    for problem in problems:
        if problem["type"] == "json_invalid":  # which pydantic would tell as a wrong value, its place as a name
            reason = f"{problem['ctx']['error']} at character {problem['loc'][-1]}"
            return answer(422, "BadRequest", f"The body is no valid JSON: {reason}. Correct it there.")
    return answer(422, "BadRequest", in_words(problems, PLACES, "the request"))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    response = answer(error.status_code, HTTPException.__name__, error.detail)
    response.headers.update(error.headers or {})
    return response


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(500, type(error).__name__, f"{error} (the server's log has the details)")
