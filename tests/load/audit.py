"""The reckoning: requests, records, events and files must tell the same story, each picture once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from .caller import Caller
from .ledger import FINAL, SEEDS_APART, Json, Ledger

SEED = re.compile(r"\bSeed: (\d+)")
SHOWN = 20
"""How many faults of one kind are told one by one."""


async def every_job(caller: Caller) -> list[Json]:
    """The records of all jobs."""
    jobs: dict[str, Json] = {}
    while page := (await caller.ask("GET", f"/tagbrush/v1/jobs?limit=500&offset={len(jobs)}")).json():
        before = len(jobs)
        jobs |= {job["id"]: job for job in page}
        if len(jobs) == before:
            break
    return list(jobs.values())


def audit(ledger: Ledger, jobs: Sequence[Json], data: Path) -> list[str]:
    """What is wrong, a line each; nothing when everything agrees."""
    files = dict(texts(data / "outputs"))
    checks = {
        "request": requests(ledger, jobs),
        "job": ends(ledger, jobs),
        "file": on_disk(jobs, files),
        "event": events(ledger, jobs),
        "left over": leftovers(data),
    }
    wrong = list(ledger.wrong)
    for lines in checks.values():
        wrong += list(lines)
    return wrong


def requests(ledger: Ledger, jobs: Sequence[Json]) -> Iterator[str]:
    """Requests that have no job or two, and jobs that nobody asked for."""
    by_seed: dict[int, list[str]] = {}
    for job in jobs:
        by_seed.setdefault(job["request"]["seed"], []).append(job["id"])
    for seed, ids in by_seed.items():
        if seed not in ledger.asked:
            yield f"job {ids[0]} was never asked for (seed {seed})"
        if len(ids) > 1:
            yield f"request {seed} has {len(ids)} jobs: {ids}"
    for asked in ledger.asked.values():
        if asked.is_certain and asked.seed not in by_seed:
            yield f"request {asked.seed} has no job"
        if asked.job_id and asked.job_id not in by_seed.get(asked.seed, ()):
            yield f"job {asked.job_id} of request {asked.seed} is lost"


def ends(ledger: Ledger, jobs: Sequence[Json]) -> Iterator[str]:
    """Jobs that are stuck, failed, or have not just the pictures they should have."""
    for job in jobs:
        asked = ledger.asked.get(job["request"]["seed"])
        indices = [picture["index"] for picture in job["pictures"]]
        seeds = [picture["seed"] for picture in job["pictures"]]
        name = f"job {job['id']} ({job['state']})"
        if job["state"] not in FINAL:
            yield f"{name} is stuck"
        elif job["state"] == "failed":
            yield f"{name} failed: {job['error']}"
        elif asked is None:
            continue
        elif job["state"] == "done" and indices != list(range(asked.pictures)):
            yield f"{name} has the pictures {indices} of {asked.pictures}"
        elif job["state"] != "done" and not asked.is_stopped:
            yield f"{name} was stopped, though nobody asked for that"
        if indices != sorted(set(indices)) or seeds != [job["request"]["seed"] + index for index in indices]:
            yield f"{name} has the pictures {indices} with the seeds {seeds}"


def on_disk(jobs: Sequence[Json], files: dict[Path, str]) -> Iterator[str]:
    """Pictures whose file is missing, doubled or another's, and files that no job has."""
    recorded = Counter(picture["infotext"] for job in jobs for picture in job["pictures"])
    found = Counter(files.values())
    for text, number in (recorded - found).items():
        yield f"{number} file(s) missing of the picture {_brief(text)}"
    for text, number in (found - recorded).items():
        yield f"{number} file(s) too many of the picture {_brief(text)}"
    for text, number in recorded.items():
        if number > 1:
            yield f"{number} records of the picture {_brief(text)}"


def events(ledger: Ledger, jobs: Sequence[Json]) -> Iterator[str]:
    """Differences between what the stream of everything told and what is recorded."""
    told = Counter((job, index) for kind, job, index in ledger.heard.values() if kind == "picture")
    recorded = Counter((job["id"], picture["index"]) for job in jobs for picture in job["pictures"])
    for job, index in (told - recorded) + (recorded - told):
        yield f"picture {index} of job {job} is told {told[job, index]} times, recorded {recorded[job, index]}"
    known = {job for kind, job, _ in ledger.heard.values() if kind == "job"}
    for job in jobs:
        if job["id"] not in known:
            yield f"no event told of job {job['id']}"


def leftovers(data: Path) -> Iterator[str]:
    """Unfinished files."""
    for path in (data / "outputs").rglob("*"):
        if path.is_file() and path.suffix != ".png":
            yield f"{path.relative_to(data)} was left over"


def texts(outputs: Path) -> Iterator[tuple[Path, str]]:
    """Every picture with its text; one that is broken has an empty one."""
    for path in sorted(outputs.rglob("*.png")):
        try:
            with Image.open(path) as picture:
                picture.load()
                yield path, picture.info.get("parameters", "")
        except OSError:
            yield path, ""


def briefly(lines: Iterable[str]) -> list[str]:
    """The lines, and of many only the first."""
    every = list(lines)
    return every[:SHOWN] + ([f"... and {len(every) - SHOWN} more"] if len(every) > SHOWN else [])


def _brief(text: str) -> str:
    seed = SEED.search(text)
    return f"with seed {seed[1]} (request {int(seed[1]) // SEEDS_APART * SEEDS_APART})" if seed else repr(text[:80])
