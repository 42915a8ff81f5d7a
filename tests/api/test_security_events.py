"""Event streams that are asked for in odd ways."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 19, "9" * 18, str(2**63), "\u0660", "-1", "1.5", "x"])
def test_a_last_event_that_never_was_begins_the_stream_all_the_same(client: TestClient, number: str) -> None:
    job = client.post("/tagbrush/v1/jobs", json={"task": "txt2img", "width": 64, "height": 64}).json()
    headers = {"Last-Event-ID": number.encode()}
    with client.stream("GET", f"/tagbrush/v1/jobs/{job['id']}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert "event: job" in "".join(answer.iter_text())
