"""Jobs over HTTP."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from modules.api import Services

from .conftest import Painter, png, until

JOBS = "/tagbrush/v1/jobs"


def submit(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post(JOBS, json={"task": "txt2img", "prompt": "a cat", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def finished(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    until(lambda: client.get(f"{JOBS}/{job['id']}").json()["finished"] is not None)
    return client.get(f"{JOBS}/{job['id']}").json()


def test_a_queue_that_cannot_be_written_is_told_and_goes_on(client: TestClient, services: Services) -> None:
    database = services.jobs._store._db
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}")
    answer = client.post(JOBS, json={"task": "txt2img", "prompt": "a cat " * 10_000})
    assert (answer.status_code, answer.json()["error"]) == (503, "QueueBlocked")
    assert "disk is full" in answer.json()["detail"]
    database.execute("PRAGMA max_page_count = 1000000")
    assert finished(client, submit(client))["state"] == "done"


def test_a_job_tells_what_sort_of_failure_it_had(client: TestClient) -> None:
    assert finished(client, submit(client, prompt="refuse"))["error_kind"] == "request"
    assert finished(client, submit(client))["error_kind"] is None


def test_submitting_answers_at_once_with_a_job_whose_seed_is_drawn(client: TestClient) -> None:
    answer = client.post(JOBS, json={"task": "txt2img", "prompt": "wait"})
    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{JOBS}/{job['id']}"
    assert job["state"] in ("queued", "running")
    assert job["request"]["seed"] >= 0


def test_a_job_ends_with_pictures_that_can_be_fetched(client: TestClient) -> None:
    job = finished(client, submit(client, n_iter=2, seed=7, width=128, height=64))
    assert job["state"] == "done"
    assert [picture["seed"] for picture in job["pictures"]] == [7, 8]
    answer = client.get(job["pictures"][1]["url"])
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    image = Image.open(io.BytesIO(answer.content))
    assert image.size == (128, 64)
    assert image.info["parameters"] == job["pictures"][1]["infotext"]


def test_a_picture_whose_file_is_gone_is_not_found(client: TestClient, tmp_path: Path) -> None:
    job = finished(client, submit(client))
    next(tmp_path.glob(f"{job['id']}-0*")).unlink()
    answer = client.get(job["pictures"][0]["url"])
    assert answer.status_code == 404
    assert "gone" in answer.json()["detail"]


def test_the_same_key_gives_the_same_job(client: TestClient) -> None:
    request = {"task": "txt2img", "prompt": "a cat"}
    first, second = (client.post(JOBS, json=request, headers={"Idempotency-Key": "k1"}).json() for _ in range(2))
    assert first["id"] == second["id"]
    other = client.post(JOBS, json={**request, "prompt": "a dog"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 422


def test_an_empty_key_is_none(client: TestClient) -> None:
    request = {"task": "txt2img", "prompt": "a cat"}
    first, second = (client.post(JOBS, json=request, headers={"Idempotency-Key": ""}).json() for _ in range(2))
    assert first["id"] != second["id"]


def test_a_job_may_be_waited_for(client: TestClient) -> None:
    job = submit(client, prompt="wait")
    begun = time.monotonic()
    assert client.get(f"{JOBS}/{job['id']}", params={"wait": 0.3}).json()["finished"] is None
    assert time.monotonic() - begun >= 0.3
    client.post(f"{JOBS}/{job['id']}/skip")
    assert client.get(f"{JOBS}/{job['id']}", params={"wait": 60}).json()["state"] == "done"
    assert client.get(f"{JOBS}/{job['id']}", params={"wait": 61}).status_code == 422


def test_a_running_job_shows_its_preview(client: TestClient, painter: Painter) -> None:
    job = submit(client, prompt="wait")
    until(lambda: client.get(f"{JOBS}/{job['id']}").json()["progress"])
    preview = client.get(f"{JOBS}/{job['id']}/preview")
    assert (preview.status_code, preview.headers["content-type"]) == (200, "image/jpeg")
    assert preview.content == painter.preview(job["id"])
    client.delete(f"{JOBS}/{job['id']}")
    over = finished(client, job)
    assert client.get(f"{JOBS}/{over['id']}/preview").status_code == 404


def test_the_queue_tells_what_runs_and_what_waits(client: TestClient) -> None:
    assert client.get("/tagbrush/v1/queue").json() == {"running": [], "waiting": []}
    running = submit(client, prompt="wait")
    until(lambda: client.get(f"{JOBS}/{running['id']}").json()["state"] == "running")
    waiting = [submit(client)["id"] for _ in range(2)]
    queue = client.get("/tagbrush/v1/queue").json()
    assert [job["id"] for job in queue["running"]] == [running["id"]]
    assert [job["id"] for job in queue["waiting"]] == waiting


def test_a_small_copy_of_a_picture_keeps_its_shape(client: TestClient) -> None:
    job = finished(client, submit(client, width=256, height=128))
    small = client.get(f"{job['pictures'][0]['url']}/thumbnail", params={"size": 32})
    assert small.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(small.content)).size == (64, 32)
    assert client.get(f"{job['pictures'][0]['url']}/thumbnail", params={"size": 9}).status_code == 422


def test_jobs_are_listed_newest_first(client: TestClient) -> None:
    ids = [finished(client, submit(client))["id"] for _ in range(3)]
    assert [job["id"] for job in client.get(JOBS, params={"limit": 2}).json()] == [ids[2], ids[1]]


@pytest.mark.parametrize(
    ("act", "state"),
    [
        (lambda client, job: client.post(f"{JOBS}/{job}/interrupt"), "interrupted"),
        (lambda client, job: client.delete(f"{JOBS}/{job}"), "cancelled"),
        (lambda client, job: client.post(f"{JOBS}/{job}/skip"), "done"),
    ],
    ids=["interrupt", "cancel", "skip"],
)
def test_a_running_job_can_be_ended(client: TestClient, act: Callable[[TestClient, str], Any], state: str) -> None:
    job = submit(client, prompt="wait")
    until(lambda: client.get(f"{JOBS}/{job['id']}").json()["state"] == "running")
    assert act(client, job["id"]).status_code == 200
    assert finished(client, job)["state"] == state


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"sampler_name": "Eular a"}, 400, 'Did you mean "Euler a"?'),
        ({"width": 0}, 422, "width is 0"),
        ({"height": 100_000}, 422, "8192"),
        ({"steps": "many"}, 422, "steps"),
        ({"stepz": 3}, 422, "stepz"),
        ({"task": "dance"}, 422, "task"),
        ({"override_settings": {"CLIP_stop": 2}}, 400, "CLIP_stop"),
        ({"override_settings": {"sd_model_checkpoint": "tiny_sd"}}, 201, ""),
        ({"override_settings": {"sd_model_checkpoint": "wholly other"}}, 400, "wholly other"),
        ({"task": "img2img", "init_images": ["abc"]}, 404, "abc"),
        ({"prompt": "word " * 10_000}, 201, ""),
        ({"prompt": ""}, 201, ""),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    reader: TestClient, fields: dict[str, Any], status: int, words: str
) -> None:
    answer = reader.post(JOBS, json={"task": "txt2img", "prompt": "a cat", **fields})
    assert answer.status_code == status
    if status >= 400:
        assert set(answer.json()) == {"error", "detail", "body", "errors"}
        assert words in answer.json()["detail"]


def test_a_waiting_job_is_moved_to_another_place(client: TestClient) -> None:
    running = submit(client, prompt="wait")
    until(lambda: client.get(f"{JOBS}/{running['id']}").json()["state"] == "running")
    first, second = submit(client), submit(client)
    assert client.put(f"{JOBS}/{second['id']}/position", json={"position": 1}).json()["position"] == 1
    assert client.get(f"{JOBS}/{first['id']}").json()["position"] == 2
    assert client.put(f"{JOBS}/{running['id']}/position", json={"position": 1}).status_code == 404
    assert client.put(f"{JOBS}/{first['id']}/position", json={"position": 0}).status_code == 422


def test_a_job_that_names_no_checkpoint_is_taken_where_the_chosen_one_is_gone(
    client: TestClient, services: Services
) -> None:
    services.jobs.change_settings({"sd_model_checkpoint": "gone", "sd_vae": "gone"})
    submit(client)


@pytest.mark.parametrize("path", ["/nosuch", "/nosuch/pictures/0", "/nosuch/events"])
def test_an_unknown_job_is_not_found(reader: TestClient, path: str) -> None:
    answer = reader.get(JOBS + path)
    assert answer.status_code == 404
    assert "nosuch" in answer.json()["detail"]


def test_a_body_that_is_no_json_is_refused_in_words(reader: TestClient) -> None:
    answer = reader.post(JOBS, content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "JSON" in answer.json()["detail"]


def test_an_uploaded_picture_comes_back_and_starts_an_img2img(client: TestClient) -> None:
    stored = client.post("/tagbrush/v1/inputs", content=png()).json()
    assert (stored["width"], stored["height"]) == (32, 24)
    again = client.get(f"/tagbrush/v1/inputs/{stored['id']}")
    assert again.content == png()
    assert again.headers["content-type"] == "image/png"
    job = finished(client, submit(client, task="img2img", init_images=[stored["id"]]))
    assert job["state"] == "done"


@pytest.mark.parametrize("data", [b"", b"hello", png()[:20], png()[:70], b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_an_upload_that_is_no_picture_is_refused(reader: TestClient, data: bytes) -> None:
    assert reader.post("/tagbrush/v1/inputs", content=data).status_code == 422


def test_an_upload_without_end_is_cut_off(client: TestClient) -> None:
    answer = client.post("/tagbrush/v1/inputs", content=(b"\0" * (1 << 20) for _ in range(70)))
    assert answer.status_code == 413
