"""The client against a real server whose worker paints one colour."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modules.client import (
    AsyncClient,
    Client,
    JobFailed,
    NotFound,
    TookTooLong,
    Unreachable,
    WrongRequest,
)
from modules.params import Txt2ImgRequest
from tests.api.conftest import png, until


def test_pictures_are_made_of_a_prompt_and_come_as_images(client: Client) -> None:
    job = client.generate("a cat", n_iter=2, seed=7, width=128, height=64)
    assert (job.state, [picture.seed for picture in job.pictures]) == ("done", [7, 8])
    images = client.images(job)
    assert [image.size for image in images] == [(128, 64), (128, 64)]
    assert images[1].info["parameters"] == job.pictures[1].infotext
    assert client.picture(job.pictures[0]).startswith(b"\x89PNG")
    assert min(Image.open(io.BytesIO(client.picture(job.pictures[0], size=16))).size) == 16


def test_a_request_made_elsewhere_is_sent_as_it_is(client: Client) -> None:
    request = Txt2ImgRequest(prompt="a cat", seed=3, steps=9, cfg_scale=2)
    job = client.generate(request, height=64)
    assert job.request == {**request.model_dump(mode="json"), "height": 64, "subseed": job.request["subseed"]}


@pytest.mark.parametrize(
    "form", [lambda path: path, str, Path.read_bytes, Image.open], ids=["path", "str", "bytes", "image"]
)
def test_pictures_to_start_from_are_uploaded(client: Client, tmp_path: Path, form: Callable[[Path], Any]) -> None:
    path = tmp_path / "start.png"
    path.write_bytes(png((48, 32)))
    job = client.generate("a lemon", init_images=[form(path)], mask=form(path), denoising_strength=0.5)
    assert job.task == "img2img"
    assert job.request["init_images"] == [job.request["mask"]]
    stored = client.upload(path)
    assert (stored.width, stored.height) == (48, 32)
    assert client.generate("a lemon", init_images=[stored.id]).request["init_images"] == [stored.id]


def test_errors_come_in_the_servers_words(client: Client, tmp_path: Path) -> None:
    with pytest.raises(WrongRequest, match='Did you mean "Euler a"') as wrong:
        client.submit("a cat", sampler_name="Eular a")
    assert (wrong.value.status, wrong.value.kind) == (400, "UnknownName")
    with pytest.raises(WrongRequest, match="stepz"):
        client.submit("a cat", stepz=3)
    with pytest.raises(NotFound, match="nosuch"):
        client.job("nosuch")
    with pytest.raises(NotFound, match="nosuch"):
        list(client.events("nosuch"))
    with pytest.raises(JobFailed, match="4 GB are free") as failed:
        client.generate("fail")
    assert failed.value.state == "failed"
    assert failed.value.job == client.job(failed.value.job_id)
    assert client.wait(failed.value.job_id, must_be_done=False).error
    with pytest.raises(Exception, match=r"gone\.png cannot be read"):
        client.upload(tmp_path / "gone.png")


def test_a_server_that_is_not_there_is_told() -> None:
    with Client("http://127.0.0.1:9", patience=0) as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        client.submit("a cat")


def test_jobs_are_followed_moved_and_stopped(client: Client) -> None:
    running, first, second = (client.submit(prompt) for prompt in ("wait", "a cat", "a dog"))
    until(lambda: client.queue().running)
    with pytest.raises(TookTooLong, match="goes on") as over:
        client.wait(running, within=0.2)
    assert over.value.job.id == running.id
    queue = client.queue()
    assert [job.id for job in queue.running] == [running.id]
    assert [job.id for job in queue.waiting] == [first.id, second.id]
    assert client.move(second, 1).position == 1
    assert [job.id for job in client.queue().waiting] == [second.id, first.id]
    assert client.cancel(first).state == "cancelled"
    client.interrupt(running)
    assert client.wait(running, must_be_done=False).state == "interrupted"
    with pytest.raises(JobFailed, match="interrupted"):
        client.wait(running)
    assert client.wait(second).state == "done"
    assert {job.id for job in client.jobs(limit=3)} == {running.id, first.id, second.id}


def test_a_skipped_batch_is_left(client: Client) -> None:
    job = client.submit("wait")
    events = client.events(job)
    while next(events).data.get("state") != "running":
        pass
    client.skip(job)
    assert client.wait(job).state == "done"


def test_the_same_key_gives_the_same_job(client: Client) -> None:
    assert client.submit("a cat", key="mine").id == client.submit("a cat", key="mine").id
    assert client.submit("a cat").id != client.submit("a cat").id


def test_events_tell_a_job_from_its_beginning_to_its_end(client: Client) -> None:
    job = client.submit("notice wait", n_iter=3)
    told = client.events(job)
    assert not next(told).job.is_over
    client.skip(job)
    rest = list(told)
    kinds = [event.kind for event in rest]
    assert [event.picture.index for event in rest if event.kind == "picture"] == [0, 1, 2]
    assert rest[-1].job.state == "done" and len(rest[-1].job.pictures) == 3
    assert "notice" in kinds
    again = list(client.events(job))
    assert [event.picture.index for event in again[:-1]] == [0, 1, 2]
    assert again[-1].job.id == job.id


def test_what_a_listener_missed_of_a_job_that_is_over_is_told_before_its_end(client: Client) -> None:
    before, job = client.submit("wait"), client.submit("a cat", n_iter=2)
    told = client.events(job)
    assert next(told).job.state == "queued"
    client.skip(before)
    first = next(event for event in told if event.kind == "job" and event.job.state == "running")
    told.close()
    client.wait(job)
    missed = list(client.events(job, after=first.id))
    assert [event.kind for event in missed] == ["picture", "picture", "job"]
    assert missed[-1].job.is_over
    assert [event.kind for event in client.events(job, after=missed[1].id)] == ["job"]


def test_what_there_is_can_be_searched_and_chosen(client: Client) -> None:
    client.refresh()
    cards = client.search("lora", "ink", sort="name")
    assert (cards.total, cards.categories) == (1, ("styles",))
    details = client.details(cards.items[0])
    assert (details.path, details.preferred_weight) == ("styles/ink.safetensors", 0.7)
    assert client.settings()["CLIP_stop_at_last_layers"] == 1
    assert client.change_settings(CLIP_stop_at_last_layers=2)["CLIP_stop_at_last_layers"] == 2
    assert client.status().worker.state == "ready"
    assert client.parameters()["txt2img"]["properties"]["steps"]["default"] == 20
    assert "Euler a" in [sampler["name"] for sampler in client.samplers()]
    assert "Karras" in [schedule["label"] for schedule in client.schedules()]
    assert "Lanczos" in [upscaler["name"] for upscaler in client.upscalers()]


def test_prompts_styles_and_texts_are_read(client: Client) -> None:
    assert client.save_style("ink/a b", "{prompt}, ink").prompt == "{prompt}, ink"
    assert [style.name for style in client.styles()] == ["ink/a b"]
    assert client.survey("a cat", styles=["ink/a b"]).prompt.used == 4
    client.remove_style("ink/a b")
    assert client.styles() == []
    job = client.generate("a cat", seed=5)
    text = client.parse_text(job.pictures[0].infotext)
    assert text.fields["seed"] == 5
    assert client.read_picture(client.picture(job.pictures[0])).fields == text.fields
    assert client.read_picture(client.image(job.pictures[0])).fields == text.fields


def test_the_asynchronous_client_does_the_same(port: int) -> None:
    async def story() -> None:
        async with AsyncClient(f"http://127.0.0.1:{port}") as client:
            jobs = await asyncio.gather(*(client.submit("a cat", seed=seed) for seed in range(3)))
            done = await asyncio.gather(*(client.wait(job) for job in jobs))
            assert [job.pictures[0].seed for job in done] == [0, 1, 2]
            assert (await client.image(done[0].pictures[0])).size == (64, 64)
            lemon = await client.generate("a lemon", init_images=[png()])
            assert [event.kind async for event in client.events(lemon)] == ["picture", "job"]
            with pytest.raises(JobFailed):
                await client.generate("fail")
            with pytest.raises(NotFound):
                _ = [event async for event in client.events("nosuch")]
            assert (await client.search("lora")).total == 3

    asyncio.run(story())


def test_both_clients_have_the_same_methods() -> None:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if name.startswith("__"):
            continue
        other = getattr(AsyncClient, name)
        assert inspect.signature(other).parameters == inspect.signature(method).parameters, name
        assert inspect.iscoroutinefunction(other) or inspect.isasyncgenfunction(other), name
