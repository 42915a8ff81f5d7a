"""What the routes work with, handed to the app once and found again in each request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Depends, Request

from modules.catalogue import Catalogue, Entry, StyleFiles
from modules.jobs import Jobs
from modules.prompt import Tokenizer

from .compat.loras import LoraTexts
from .compat.tasks import TaskNames
from .decoding import Decoding

PageState = Literal["starting", "ready", "failed", "off"]
End = Literal["", "stop", "kill", "restart"]


@dataclass
class Page:
    """How far the page has come up, and whether a browser has shown it."""

    state: PageState = "starting"
    message: str = ""
    seen: bool = False


@dataclass
class Ending:
    """How a client has asked the server to end, if one did, and what ends it."""

    asked: End = ""
    end: Callable[[End], None] | None = None

    def ask(self, how: End) -> None:
        """End the server, soon."""
        self.asked = how
        if self.end is not None:
            self.end(how)


@dataclass(frozen=True)
class Services:
    """The parts behind the routes. `closing` is set when the server is going down, so that streams end."""

    jobs: Jobs
    catalogue: Catalogue
    styles: StyleFiles = field(default_factory=lambda: StyleFiles(()))
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    page: Page = field(default_factory=Page)
    flags: Mapping[str, Any] = field(default_factory=dict)
    tasks: TaskNames = field(default_factory=TaskNames)
    lora_texts: LoraTexts = field(default_factory=LoraTexts)
    ending: Ending = field(default_factory=Ending)
    decoding: Decoding = field(default_factory=Decoding)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def chosen_checkpoint(self) -> Entry | None:
        """The checkpoint in use."""
        return self.catalogue.usable_checkpoint(self.jobs.settings().sd_model_checkpoint, look_again=False)

    def page_answered(self) -> None:
        """A browser has asked for cards: if the page itself is up, the worker need not hold back any more."""
        if self.page.state != "starting" and not self.page.seen:
            self.page.seen = True
            self.jobs.page_loaded()


def services(request: Request) -> Services:
    """The services of the app that serves `request`."""
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


Bound = Annotated[Services, Depends(services)]
