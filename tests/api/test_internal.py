"""The routes of A1111's own page, and those for ending the server and for what is not built yet."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient

from modules.api import Services
from modules.api.compat import TaskNames
from modules.api.compat.tasks import KEPT

from .conftest import until


def ask(client: TestClient, task: str, **fields: Any) -> dict[str, Any]:
    answer = client.post("/internal/progress", json={"id_task": task, **fields})
    assert answer.status_code == 200
    return answer.json()


def generate(client: TestClient, task: str, prompt: str = "wait") -> threading.Thread:
    payload = {"prompt": prompt, "force_task_id": task}
    thread = threading.Thread(target=client.post, args=("/sdapi/v1/txt2img",), kwargs={"json": payload})
    thread.start()
    return thread


def test_a_task_is_followed_by_the_name_that_its_client_gave_it(client: TestClient) -> None:  # U033, A002
    assert ask(client, "mine") == {
        "active": False, "queued": False, "completed": False, "progress": None, "eta": None, "live_preview": None,
        "id_live_preview": -1, "textinfo": "Waiting...",
    }  # fmt: skip
    first = generate(client, "mine")
    until(lambda: ask(client, "mine")["progress"] == 0.5)
    second = generate(client, "yours")
    until(lambda: ask(client, "yours")["queued"])
    running, waiting = ask(client, "mine"), ask(client, "yours")
    assert (running["active"], running["queued"], running["eta"]) == (True, False, 3.0)
    assert running["live_preview"].startswith("data:image/jpeg;base64,")
    assert (waiting["active"], waiting["textinfo"]) == (False, "In queue: 1/1")
    assert client.get("/internal/pending-tasks").json() == {"size": 1, "tasks": ["yours"]}
    assert client.get("/queue/status").json()["queue_size"] == 1
    assert client.get("/sdapi/v1/progress").json()["current_task"] == "mine"
    for task, thread in (("mine", first), ("yours", second)):
        until(lambda task=task: ask(client, task)["active"])
        client.post("/sdapi/v1/interrupt")
        thread.join(60)
        assert ask(client, task)["completed"]


def test_a_preview_that_is_known_is_not_sent_again(client: TestClient) -> None:  # U033
    thread = generate(client, "mine")
    until(lambda: ask(client, "mine")["live_preview"])
    number = ask(client, "mine")["id_live_preview"]
    again = ask(client, "mine", id_live_preview=number)
    assert (again["live_preview"], again["id_live_preview"]) == (None, number)
    assert ask(client, "mine", live_preview=False)["live_preview"] is None
    client.post("/sdapi/v1/interrupt")
    thread.join(60)


def test_a_name_given_again_stands_for_the_newest_job_and_old_ones_are_forgotten() -> None:
    names = TaskNames()
    names.remember("a", "1")
    names.remember("a", "2")
    assert (names.job_id("a"), names.name("2"), names.name("1")) == ("2", "a", "1")
    for number in range(KEPT):
        names.remember(f"n{number}", str(number + 10))
    assert names.job_id("a") == "a"


def test_the_system_tells_of_itself_without_passwords(client: TestClient, services: Services) -> None:  # A012
    assert client.get("/internal/ping").json() == {}
    info = client.get("/internal/sysinfo").json()
    assert info["Config"]["CLIP_stop_at_last_layers"] == 1
    assert info["Commandline"] == {"listen": False}
    assert info["Packages"].keys() >= {"torch", "fastapi", "safetensors"}
    download = client.get("/internal/sysinfo-download")
    assert download.json() == info
    assert "attachment" in download.headers["content-disposition"]
    hints = {hint["name"]: hint["label"] for hint in client.get("/internal/quicksettings-hint").json()}
    assert hints["CLIP_stop_at_last_layers"] == "Clip skip"


@pytest.mark.parametrize("how", ["stop", "kill", "restart"])
def test_the_server_ends_over_http_only_where_its_owner_allows_it(  # A012
    client: TestClient, services: Services, how: str
) -> None:
    asked: list[str] = []
    services.ending.end = asked.append
    refused = client.post(f"/sdapi/v1/server-{how}")
    assert (refused.status_code, asked) == (404, [])
    assert "--api-server-stop" in refused.json()["detail"]
    services.flags["api_server_stop"] = True  # type: ignore[index]
    assert client.post(f"/sdapi/v1/server-{how}").status_code == 200
    assert (asked, services.ending.asked) == ([how], how)


@pytest.mark.parametrize(
    "route",
    ["interrogate", "create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork", "preprocess"],
)
def test_what_is_not_built_yet_says_so(reader: TestClient, route: str) -> None:  # A010
    answer = reader.post(f"/sdapi/v1/{route}", json={})
    assert (answer.status_code, answer.json()["error"]) == (422, "Unsupported")
    assert len(answer.json()["detail"]) > 30
