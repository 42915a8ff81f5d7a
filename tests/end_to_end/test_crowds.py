"""Many programs at once: each gets what it asked for, in the order of asking."""

from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from .conftest import SMALL, Json, Program


def test_each_of_thirty_clients_gets_its_own_picture(shared: Program) -> None:
    def ask(seed: int) -> Json:
        fields = {**SMALL, "seed": seed, "steps": 1 + seed % 3}
        answer = shared.post("/sdapi/v1/txt2img", prompt=f"number {seed} <lora:lin:{seed / 10}>", **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    with ThreadPoolExecutor(30) as clients:
        answers = list(clients.map(ask, range(30)))
    for seed, answer in enumerate(answers):
        assert json.loads(answer["info"])["all_seeds"] == [seed]
        with Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) as picture:
            text = picture.info["parameters"]
        assert text.startswith(f"number {seed} <lora:lin:{seed / 10}>\n")
        assert f"Steps: {1 + seed % 3}, " in text
    alone = ask(17)
    assert alone["images"] == answers[17]["images"]


def test_jobs_are_done_in_the_order_of_asking(shared: Program) -> None:
    ids = [shared.submit(seed=seed) for seed in range(8)]
    assert [job["id"] for job in shared.http.get("/tagbrush/v1/jobs?limit=8").json()] == ids[::-1]
    jobs = [shared.end(job_id) for job_id in ids]
    assert [job["state"] for job in jobs] == ["done"] * 8
    finished = [job["finished"] for job in jobs]
    assert finished == sorted(finished)


def test_the_same_key_is_the_same_job_however_often_it_is_sent(shared: Program) -> None:
    def send(_: int) -> str:
        headers = {"Idempotency-Key": "a key of my own"}
        body = {"task": "txt2img", "prompt": "a cat", **SMALL, "seed": -1}
        return shared.http.post("/tagbrush/v1/jobs", json=body, headers=headers).json()["id"]

    with ThreadPoolExecutor(10) as clients:
        (job_id,) = set(clients.map(send, range(10)))
    assert len(shared.end(job_id)["pictures"]) == 1
