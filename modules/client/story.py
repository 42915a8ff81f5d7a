"""An event stream as a client hears it, over any number of connections; nothing here reads from a network."""

from __future__ import annotations

import json
import math
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import Any

from .answers import Event
from .errors import Refused, Unreachable, is_away
from .patience import Clock, Patience


class Story:
    """What is heard of one job, or of everything: events from bytes, and where to go on after a break.

    `hear` takes what a connection brings, `broken` says how long to wait before the next. Events with an id come once.
    Of one job every picture is told, each once: where the server begins with the job as it is, those in it come first.
    """

    def __init__(
        self,
        job_id: str | None,
        *,
        after: str | None = None,
        patience: float = 60.0,
        clock: Clock = time.monotonic,
    ) -> None:
        """`patience` is the number of seconds for which a server may be away."""
        self.is_over = False
        self.last_id = after
        self._job_id, self._patience = job_id, Patience(patience, clock)
        self._silent_since = clock()
        self._pictures: dict[int, Any] = {}
        self._begin()

    @property
    def path(self) -> str:
        return "/tagbrush/v1/events" if self._job_id is None else f"/tagbrush/v1/jobs/{self._job_id}/events"

    @property
    def headers(self) -> dict[str, str]:
        """What the request for the next connection carries."""
        return {"Accept": "text/event-stream", **({"Last-Event-ID": self.last_id} if self.last_id else {})}

    def hear(self, data: bytes) -> Iterator[Event]:
        """The events that `data` completes."""
        self._text += self._decode(data)
        # Lines end with \n, \r\n or \r; a \r at the end may be the first half of \r\n.
        held = "\r" if self._text.endswith("\r") else ""
        lines = self._text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._text = lines.pop() + held
        for line in lines:
            if event := self._read(line):
                yield from self._made_before(event)
                if event.kind != "picture" or self._is_news(event.data):
                    yield event

    def broken(self, error: Exception | None = None) -> float:
        """Seconds to wait before the stream is asked for again.

        Raises Unreachable, or what the server said, when that is away too long, and Refused for any other answer.
        """
        is_final = isinstance(error, Refused) and not is_away(error)
        pause = None if is_final else self._patience.pause(self._silent_since)
        if pause is not None:
            self._begin()
            return pause
        if isinstance(error, Refused):
            raise error
        gone = f"The server has not answered for {self._patience.seconds:g} s. Is it still running?"
        raise Unreachable(gone) from error

    def _begin(self) -> None:
        """Forget what a broken connection left unfinished."""
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._text, self._fields = "", {}
        self._is_first = True

    def _made_before(self, event: Event) -> Iterator[Event]:
        """The pictures of a job with whose state, which has an id then, the server begins to tell of it."""
        begins, self._is_first = self._is_first, False
        if begins and event.kind == "job" and event.id and self._job_id is not None:
            for picture in event.data.get("pictures", ()):
                data = {"job_id": self._job_id, **picture}
                if self._is_news(data):
                    yield Event("picture", data)

    def _is_news(self, picture: dict[str, Any]) -> bool:
        """Whether the picture has not been told; one that is made just then comes both in the job and by itself."""
        if self._job_id is None:
            return True
        told = self._pictures.get(picture["index"])
        self._pictures[picture["index"]] = picture
        return picture != told

    def _read(self, line: str) -> Event | None:
        """The event that an empty line ends; None while it goes on, and for pings."""
        self._patience.answered()
        self._silent_since = math.inf
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            self._fields[name] = f"{self._fields[name]}\n{value}" if name == "data" and name in self._fields else value
            return None
        fields, self._fields = self._fields, {}
        self.last_id = fields.get("id") or self.last_id
        if "data" not in fields:
            return None
        event = Event(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id"))
        if self._job_id is not None and event.kind == "job":
            self.is_over = bool(event.data.get("finished"))
        return event
