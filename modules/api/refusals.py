"""What a request is answered that may not come in."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def refuse(status: int, error: str, reason: str, headers: Mapping[str, str] | None = None) -> ASGIApp:
    """An app that answers with the error in the one shape of all errors; a websocket it closes."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason[:120]})
            return
        body = {"error": error, "detail": reason, "body": "", "errors": reason}
        await JSONResponse(body, status, headers)(scope, receive, send)

    return answer
