"""A worker's part of a job, made batch by batch; a test steers it by files in its folder.

While there is a file `hold-N`, picture N is being sampled, and while there is a `keep-N`, it is being saved; `die-N`
ends the process there for once, `half-N` with half of the picture written, `poison-N` every time; `fail-N` fails the
job. `made` gets a line for each picture: the process, the job and the number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modules.engine.pipes import Control, Pipes
from modules.jobs.messages import Failed, Preview, Run, StepDone
from modules.params import batches, make_request
from tests.jobs.mortal import die, dying_at
from tests.jobs.saving import save

STEPS = 4


def make_part(pipes: Pipes, job: Run, control: Control, folder: Path, who: int) -> bool:
    """Make what the worker is to make, until it is interrupted; False where it failed."""
    request = make_request(job.request)
    mine = [[number for number in batch if is_owed(job, number)] for batch in batches(request)]
    mine = [batch for batch in mine if batch]
    images = request.n_iter * request.batch_size
    done = images - sum(map(len, mine))
    for place, batch in enumerate(mine):
        control.skipped = False

        def say(step: int, place: int = place, batch: list[int] = batch, done: int = done) -> None:
            told = StepDone(
                job_id=job.job_id,
                batch=place,
                batches=len(mine),
                step=step,
                steps=STEPS,
                images_done=done,
                images=images,
            )
            pipes.send(told)
            pipes.send(Preview(job_id=job.job_id, data=b"of %d" % batch[0]))

        for step in range(STEPS + 1):
            say(step)
            while any((folder / f"hold-{number}").exists() for number in batch) and not is_stopped(control):
                time.sleep(0.005)
                say(step)
            if control.interrupted or control.skipped:
                break
        if control.interrupted:
            break
        if control.skipped:
            continue
        for number in batch:
            if (folder / f"fail-{number}").exists():
                pipes.send(Failed(job_id=job.job_id, error=f"Picture {number} cannot be.", kind="request"))
                return False
            with (folder / "made").open("a") as made:
                made.write(f"{who} {job.job_id} {number}\n")
            with _fate(folder, number):
                save(pipes, job, number, folder, "save")
            done += 1
    return True


def is_owed(job: Run, number: int) -> bool:
    return number not in job.made and (job.only is None or number in job.only)


def is_stopped(control: Control) -> bool:
    return control.interrupted or control.skipped


@contextmanager
def _fate(folder: Path, number: int) -> Iterator[None]:
    """What the files say is to happen to the picture."""
    if (folder / f"poison-{number}").exists():
        die()
    once = folder / f"die-{number}"
    if once.exists():
        once.unlink()
        die()
    half = folder / f"half-{number}"
    keep = folder / f"keep-{number}"
    point = "half-written" if half.exists() else "synced" if keep.exists() else ""
    with dying_at(point, _die_without(half) if half.exists() else _wait(keep)):
        yield


def _die_without(file: Path) -> Callable[[], None]:
    def end() -> None:
        file.unlink()
        die()

    return end


def _wait(file: Path) -> Callable[[], None]:
    def wait() -> None:
        while file.exists():
            time.sleep(0.005)

    return wait
