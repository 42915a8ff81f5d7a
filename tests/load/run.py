"""One run: a server, its clients, what is done to it, and the verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from .audit import audit, every_job
from .caller import Caller, Unanswered
from .clients import Client
from .ledger import FINAL, Course, Json, Ledger
from .server import Server
from .watch import Life, Probe, watch_memory

LONGEST_DRAIN = 300.0

Harm = Callable[[Ledger, Course], Awaitable[None]]
"""What is done to the server, until the course is over, beside the clients."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much load, for how long, from which seed.

    `measures` asks for memory and times; `endures` says that clients take it when the server is away for a while.
    """

    clients: int = 50
    seconds: float = 600.0
    seed: int = 1
    has_page: bool = False
    measures: bool = True
    endures: bool = False


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    ledger: Ledger
    jobs: list[Json] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lives: dict[int, Life] = field(default_factory=dict)
    probed: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    starts: int = 0


async def drive(server: Server, plan: Plan, harm: Harm | None = None) -> Outcome:
    """Start the server, load it as planned, wait for the last job, end it, and hold everything against everything."""
    ledger = Ledger()
    outcome = Outcome(ledger)
    await server.start()
    await server.wait_until_ready()
    began = time.monotonic()
    course = Course(began + plan.seconds, has_faults_to_come=harm is not None)
    probe = Probe(server.url)
    auditor = Caller(server.url, ledger, endures=plan.endures)
    beside = [asyncio.create_task(hear_everything(auditor))]
    if plan.measures:
        beside.append(asyncio.create_task(watch_memory(server, outcome.lives)))
        await probe.start()
    try:
        crowd = [live(server, plan, ledger, number, course) for number in range(plan.clients)]
        await asyncio.gather(*crowd, *([harm(ledger, course)] if harm else []))
        outcome.seconds = time.monotonic() - began
        # What is shared with the probe is counted differently once it is gone, so nothing is measured then.
        await cancelled(beside[1:])
        await probe.stop()
        await drained(auditor)
        await heard_all(auditor)
        outcome.jobs = await every_job(auditor)
    finally:
        await probe.stop()
        await cancelled(beside)
        await auditor.close()
    outcome.probed, outcome.starts = probe.seconds, server.starts
    code = await server.stop()
    outcome.wrong = audit(ledger, outcome.jobs, server.data)
    if code != 0:
        outcome.wrong.append(f"the server ended with exit code {code}")
    return outcome


async def live(server: Server, plan: Plan, ledger: Ledger, number: int, course: Course) -> None:
    """One client's life."""
    caller = Caller(server.url, ledger, endures=plan.endures)
    random = Random(f"{plan.seed} {number}")
    try:
        await Client(caller, ledger, random, course, plan.has_page).live()
    finally:
        await caller.close()


async def hear_everything(caller: Caller) -> None:
    """Follow all durable events from the first on, over every connection that breaks, until cancelled."""
    while True:
        last = next(reversed(caller.ledger.heard), 0)
        with suppress(Unanswered):
            async with caller.stream("/tagbrush/v1/events", last) as events:
                async for event in events:
                    if event.id is not None:
                        caller.ledger.hear(event.kind, event.id, event.data)
        await asyncio.sleep(0.2)


async def drained(caller: Caller) -> None:
    """Wait until no job waits or runs, if that comes in time: those of clients that left are done without them."""
    deadline = time.monotonic() + LONGEST_DRAIN
    while time.monotonic() < deadline:
        jobs = (await caller.ask("GET", "/tagbrush/v1/jobs?limit=200")).json()
        if all(job["state"] in FINAL for job in jobs):
            return
        await asyncio.sleep(0.5)


async def heard_all(caller: Caller) -> None:
    """Wait until the last durable event has been heard, if that comes in time."""
    async with caller.stream("/tagbrush/v1/events") as events:
        last = (await anext(events)).id or 0
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and next(reversed(caller.ledger.heard), 0) < last:
        await asyncio.sleep(0.1)


async def cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
