"""The API's services, a browser, and what keeps the program's own start from changing the process of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modules.app import cli
from tests.api.conftest import client, folders, large_preview, painter, port, server, services
from tests.browsing import browser

__all__ = ["browser", "client", "folders", "large_preview", "painter", "port", "server", "services"]


@pytest.fixture(autouse=True)
def _an_undisturbed_process() -> Iterator[None]:
    """The program's `main` would send the log to its own console and take memory its own way, for all tests to come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "set_up_logging", lambda level, console: None)
        patch.setattr(cli, "keep_small", lambda: None)
        yield
