"""Answers that are long in coming."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Later(Response):
    """A JSON answer that is waited for when its route is done with the request.

    What the request held, pictures as text perhaps, is gone by then. Errors met in waiting are answered as usual.
    """

    def __init__(self, wait: Callable[[], Awaitable[BaseModel]]) -> None:
        super().__init__()
        self._wait = wait

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        made = await self._wait()
        text = await run_in_threadpool(made.model_dump_json)
        await Response(text, media_type="application/json")(scope, receive, send)
