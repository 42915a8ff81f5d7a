"""What people and programs do to a server: ask, watch, come and go, change their minds, and vanish."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from .caller import Caller, Unanswered
from .ledger import FINAL, Asked, Course, Json, Ledger

LONGEST_JOB = 300.0
"""Seconds after which a job counts as stuck; a full queue of the soak is done in a fraction of it."""

SIZES = ((64, 64), (128, 128), (96, 64))
THINGS = ("a cat", "a red apple on a blue background", "an owl", "a taxi on a green background", "a dog, a cat")
STATUS = ("/tagbrush/v1/status", "/sdapi/v1/progress")
ASSET = re.compile(rb'"/?(tagbrush/assets/[^"\\]+)')
KINDS = ("lora", "checkpoint", "embedding", "hypernetwork")


@dataclass
class Client:
    """One client, which acts at random, from `random`, until the course is over."""

    caller: Caller
    ledger: Ledger
    random: Random
    course: Course
    has_page: bool = False

    async def live(self) -> None:
        """Act, one thing after another; the last one is brought to its end."""
        acts: dict[Callable[[], Awaitable[None]], int] = {
            self.follow_a_job: 30,
            self.poll_a_job: 20,
            self.change_ones_mind: 15,
            self.use_the_old_api: 10,
            self.redraw: 8,
            self.reload: 12,
            self.vanish: 5,
        }
        await asyncio.sleep(self.random.random())
        while not self.course.is_over:
            (act,) = self.random.choices([*acts], [*acts.values()])
            self.ledger.counts[act.__name__.replace("_", " ")] += 1
            with suppress(Unanswered):  # noted where it was found
                await act()
            await self.pause(0.5)

    async def pause(self, longest: float) -> None:
        await asyncio.sleep(self.random.uniform(0, longest))

    # Asking

    def wish(self, **more: Any) -> tuple[Asked, Json]:
        """A small request that nobody else makes."""
        draw = self.random
        width, height = draw.choice(SIZES)
        body = {
            "prompt": draw.choice(THINGS),
            "steps": draw.randint(2, 6),
            "cfg_scale": 3,
            "sampler_name": draw.choice(("Euler a", "Euler", "DPM++ 2M")),
            "width": width,
            "height": height,
            "n_iter": draw.randint(1, 3),
            "batch_size": draw.choice((1, 1, 2)),
            "save_images": draw.random() < 0.9,
            **more,
        }
        asked = self.ledger.ask(body["n_iter"] * body["batch_size"])
        return asked, {**body, "seed": asked.seed}

    async def submit(self, **more: Any) -> Asked:
        """A request that the server has; now and then it is sent twice, as an impatient program does."""
        asked, body = self.wish(**{"task": "txt2img", **more})
        headers = {"Idempotency-Key": f"soak {asked.seed}"}
        times = 2 if self.random.random() < 0.1 else 1
        calls = (self.caller.ask("POST", "/tagbrush/v1/jobs", json=body, headers=headers) for _ in range(times))
        answers = await asyncio.gather(*calls)
        if any(answer.status_code != 201 for answer in answers):
            self.ledger.complain(f"a job was refused: {answers[0].status_code} {answers[0].text[:300]}")
            raise Unanswered
        ids = {answer.json()["id"] for answer in answers}
        if len(ids) > 1:
            self.ledger.complain(f"one key gave two jobs: {ids}")
        asked.job_id = ids.pop()
        return asked

    # Watching

    async def follow_a_job(self) -> None:
        """Submit a job and hear it to its end, over as many connections as it takes."""
        await self.follow(await self.submit())

    async def follow(self, asked: Asked) -> None:
        last: int | None = None
        has_begun = False
        shown: set[int] = set()
        told: list[int] = []
        deadline = time.monotonic() + LONGEST_JOB
        while time.monotonic() < deadline:
            stays = self.random.randint(1, 40) if self.random.random() < 0.4 else 10**9
            with suppress(Unanswered):
                async with self.caller.stream(f"/tagbrush/v1/jobs/{asked.job_id}/events", last) as events:
                    async for event in events:
                        if not has_begun and event.kind == "job":
                            # It shows the job as it is, with pictures that may be told right after it.
                            shown = {picture["index"] for picture in event.data["pictures"]}
                            has_begun = True
                        elif not has_begun:
                            self.ledger.complain(f"the stream of job {asked.job_id} began with a {event.kind}")
                        if event.id is not None:
                            if last is not None and event.id <= last:
                                self.ledger.complain(f"event {event.id} was told again after {last}")
                            last = event.id
                            told += [event.data["index"]] if event.kind == "picture" else []
                        if event.kind == "job" and event.data["state"] in FINAL:
                            if len(told) > len(set(told)):
                                self.ledger.complain(f"job {asked.job_id} told of the pictures {told}")
                            self.settle(asked, event.data, shown | set(told))
                            return
                        stays -= 1
                        if stays <= 0:
                            break
            self.ledger.counts["reconnections"] += 1
            await self.pause(1)
        self.ledger.complain(f"job {asked.job_id} is stuck: no end was told within {LONGEST_JOB:.0f} s")

    async def poll_a_job(self) -> None:
        """Submit a job and ask again and again how it goes."""
        await self.poll(await self.submit())

    async def poll(self, asked: Asked) -> Json | None:
        deadline = time.monotonic() + LONGEST_JOB
        while time.monotonic() < deadline:
            if self.random.random() < 0.4:
                await self.caller.look(path := self.random.choice(STATUS), path)
            job = await self.caller.look(f"/tagbrush/v1/jobs/{asked.job_id}", "/tagbrush/v1/jobs/{id}")
            if job["state"] in FINAL:
                self.settle(asked, job)
                return job
            await asyncio.sleep(self.random.uniform(0.2, 1))
        self.ledger.complain(f"job {asked.job_id} is stuck: no end within {LONGEST_JOB:.0f} s")
        return None

    def settle(self, asked: Asked, job: Json, told: set[int] | None = None) -> None:
        """Check the end of a job as its client saw it; `told` are the pictures it heard of, where it heard all."""
        indices = [picture["index"] for picture in job["pictures"]]
        if told is not None and told != set(indices):
            self.ledger.complain(f"job {asked.job_id} has the pictures {indices}, but told of {sorted(told)}")
        if job["state"] == "done" and len(indices) != asked.pictures and not asked.is_stopped:
            self.ledger.complain(f"job {asked.job_id} is done with {len(indices)} of {asked.pictures} pictures")

    # Other ways

    async def change_ones_mind(self) -> None:
        """Submit a job, perhaps move it up, and stop it, waiting or running."""
        asked = await self.submit(steps=self.random.randint(5, 15), n_iter=4, batch_size=1)
        if self.random.random() < 0.5:
            place = {"position": self.random.randint(1, 5)}
            await self.caller.ask("PUT", f"/tagbrush/v1/jobs/{asked.job_id}/position", json=place)
        await self.pause(4)
        asked.is_stopped = True
        if self.random.random() < 0.5:
            await self.caller.ask("DELETE", f"/tagbrush/v1/jobs/{asked.job_id}")
        else:
            await self.caller.ask("POST", f"/tagbrush/v1/jobs/{asked.job_id}/interrupt")
        await self.poll(asked)

    async def use_the_old_api(self) -> None:
        """Ask as A1111's clients do: wait for the pictures, and look at the progress meanwhile."""
        asked, body = self.wish()
        asked.is_certain = False
        waiting = asyncio.create_task(self.caller.once("POST", "/sdapi/v1/txt2img", json=body))
        while not (await asyncio.wait({waiting}, timeout=self.random.uniform(0.3, 1)))[0]:
            with suppress(Unanswered):
                await self.caller.look("/sdapi/v1/progress", "/sdapi/v1/progress")
        answer = waiting.result()
        if answer.status_code == 200:
            asked.is_certain = True
            if len(answer.json()["images"]) < asked.pictures:
                self.ledger.complain(f"the old API gave {len(answer.json()['images'])} of {asked.pictures} pictures")
        elif answer.status_code < 500:
            self.ledger.complain(f"the old API refused: {answer.status_code} {answer.text[:300]}")

    async def redraw(self) -> None:
        """Make a picture, fetch it, and send it back to be redrawn."""
        job = await self.poll(await self.submit(n_iter=1, batch_size=1, save_images=True, width=64, height=64))
        if not job or not job["pictures"]:
            return
        file = await self.caller.ask("GET", job["pictures"][0]["url"])
        stored = await self.caller.ask("POST", "/tagbrush/v1/inputs", content=file.content)
        if stored.status_code != 201:
            self.ledger.complain(f"a picture was refused: {stored.status_code} {stored.text[:300]}")
            return
        task = {"task": "img2img", "init_images": [stored.json()["id"]], "denoising_strength": 0.6}
        await self.follow(await self.submit(**task))

    async def reload(self) -> None:
        """Open the page, read the cards, listen to everything for a moment, and go; then once more from there."""
        last: int | None = None
        for _ in range(self.random.randint(1, 3)):
            if self.has_page:
                await self.open_the_page()
            for kind in KINDS:
                await self.caller.look(f"/tagbrush/v1/catalogue/{kind}?limit=50", "/tagbrush/v1/catalogue/{kind}")
            await self.caller.look("/tagbrush/v1/jobs?limit=20", "/tagbrush/v1/jobs")
            with suppress(Unanswered, TimeoutError):
                async with (
                    asyncio.timeout(self.random.uniform(0.5, 4)),
                    self.caller.stream("/tagbrush/v1/events", last) as events,
                ):
                    async for event in events:
                        if event.id is not None and event.kind != "snapshot" and last is not None and event.id <= last:
                            self.ledger.complain(f"event {event.id} was told again after {last}")
                        last = event.id or last

    async def open_the_page(self) -> None:
        """What a browser asks for: the page, what it links to, and what its controls load."""
        page = await self.caller.ask("GET", "/")
        if page.status_code != 200 or b"gradio" not in page.content:
            self.ledger.complain(f"the page was answered with {page.status_code}")
            return
        for asset in set(ASSET.findall(page.content)):
            await self.caller.ask("GET", f"/{asset.decode()}")
        visit = f"soak{self.random.getrandbits(40):x}"
        beats = self.caller.plain("GET", f"/gradio_api/heartbeat/{visit}")
        beating = asyncio.create_task(self.caller.cut(beats, self.random.uniform(0.5, 3), reads=True))
        for dependency in (await self.caller.ask("GET", "/config")).json()["dependencies"]:
            loads = any(event == "load" for _, event in dependency["targets"])
            if loads and dependency["backend_fn"] and not dependency["inputs"]:
                call = {"data": [], "fn_index": dependency["id"], "session_hash": visit, "event_data": None}
                answer = await self.caller.ask("POST", "/gradio_api/run/predict", json=call)
                if answer.status_code != 200:
                    self.ledger.complain(f"the page's load was answered with {answer.status_code} {answer.text[:200]}")
        await beating

    async def vanish(self) -> None:
        """Cut a connection at a bad moment."""
        caller, seconds = self.caller, self.random.uniform(0.05, 2)
        match self.random.randrange(5):
            case 0:
                await caller.cut(caller.plain("GET", "/tagbrush/v1/events"), seconds, reads=True)
            case 1:  # a client that hangs: it takes nothing of what it is sent
                await caller.cut(caller.plain("GET", "/tagbrush/v1/events"), 8 * seconds, reads=False)
            case 2:
                unfinished = {"task": "txt2img", "prompt": "a request that never comes whole"}
                await caller.cut(caller.plain("POST", "/tagbrush/v1/jobs", unfinished, 40), seconds, reads=True)
            case 3:
                asked, body = self.wish()
                asked.is_certain = False
                await caller.cut(caller.plain("POST", "/sdapi/v1/txt2img", body), seconds, reads=True)
            case _:
                await caller.cut(caller.plain("GET", "/tagbrush/v1/catalogue/checkpoint"), seconds / 100, reads=False)
