from collections.abc import Iterator

import pytest

from modules.client import Client
from tests.api.conftest import folders, large_preview, port, server, services

__all__ = ["folders", "large_preview", "port", "server", "services"]


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{port}") as client:
        yield client
