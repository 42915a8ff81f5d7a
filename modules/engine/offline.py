"""No connection leaves this machine: libraries are told so, and what they try all the same is refused.

Loads no torch: server and worker both begin with it. Python reports each connection before it is made (PEP 578), and a
refusal there reaches whoever asked as an ordinary error of the network.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

QUIET: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
"""What libraries read to learn that they are to ask nobody; a person's own choice stands."""

CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
LOOKING_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})

STAYING = "tagbrush.stay_here"
"""The event that asks whether this process stays here already."""

_leaving: ContextVar[bool] = ContextVar("leaving", default=False)


class StayedOffline(OSError):
    """A connection to another machine that was refused here, before anything was sent."""

    def __init__(self, where: object) -> None:
        super().__init__(errno.ENETUNREACH, f"Tagbrush is offline and did not connect to {where}")


def be_quiet(environ: MutableMapping[str, str]) -> None:
    """Have libraries that read `environ` later neither look anything up nor report anything."""
    for name, value in QUIET.items():
        environ.setdefault(name, value)


def stay_here(*, always: bool = False) -> None:
    """From now on refuse, in this process, every connection to another machine; there is no way back.

    What happens inside `leaving` may leave all the same, unless it is `always`; the first call counts. Raises, where
    the connection is asked for, StayedOffline.
    """
    stays: list[bool] = []
    sys.audit(STAYING, stays)
    if stays:
        return
    own = socket.gethostname()

    def look(event: str, given: tuple[Any, ...]) -> None:
        if event == STAYING:
            given[0].append(True)
        elif event in CONNECTING:
            place = given[1] if len(given) > 1 else None
            if is_elsewhere(place) and (always or not _leaving.get()):
                raise StayedOffline(place[0])
        elif event in LOOKING_UP and is_name_elsewhere(given[0], own) and (always or not _leaving.get()):
            raise StayedOffline(given[0])

    sys.addaudithook(look)


@contextmanager
def leaving() -> Iterator[None]:
    """Inside, this task may connect to other machines: for what a person has asked to be fetched."""
    token = _leaving.set(True)
    try:
        yield
    finally:
        _leaving.reset(token)


def is_elsewhere(place: Any) -> bool:
    """Whether a socket's address is one of another machine; paths and what has no address are here."""
    if not isinstance(place, tuple) or not place or not isinstance(place[0], str):
        return False
    host = place[0].partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host not in ("", "localhost")
    return not (address.is_loopback or address.is_unspecified)


def is_name_elsewhere(name: object, own: str) -> bool:
    """Whether finding this name's address would mean asking another machine."""
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if not isinstance(name, str) or name.casefold() in ("", "localhost", own.casefold()):
        return False
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return True
    return False
