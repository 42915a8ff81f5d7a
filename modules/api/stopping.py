"""Routes that end the server, for programs that mind it; only with the flag --api-server-stop."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from .errors import MISSING, NotFound
from .services import Bound, End, Services

router = APIRouter(prefix="/sdapi/v1", tags=["A1111"])


class Ended(BaseModel):
    detail: str


@router.post("/server-stop", responses=MISSING, summary="Stop the server")
def stop(services: Bound) -> Ended:
    """Ends in order: a running job goes back into the queue for the next start."""
    return _end(services, "stop", "Stopping.")


@router.post("/server-kill", responses=MISSING, summary="Stop the server too")
def kill(services: Bound) -> Ended:
    """As `server-stop`, which waits for nobody either: connections are cut after half a second, no job is lost."""
    return _end(services, "kill", "Stopping.")


@router.post("/server-restart", responses=MISSING, summary="Start the server anew")
def restart(services: Bound) -> Ended:
    """Ends in order and begins again with the same flags; the queue goes on."""
    return _end(services, "restart", "Restarting.")


def _end(services: Services, how: End, told: str) -> Ended:
    if not services.flags.get("api_server_stop"):
        raise NotFound("This server cannot be stopped over HTTP. Start it with --api-server-stop to allow it.")
    services.ending.ask(how)
    return Ended(detail=told)
