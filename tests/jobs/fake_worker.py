"""A worker without torch: speaks the real frames over the real pipes and does what a job's prompt says.

The prompt is a list of words, done in turn: `picture`, `step`, `print`, `fail`, `die` (by SIGKILL where there is
one), `exit`, `die-once` (only while nothing is made yet), `wait` (until interrupted), `batches` (three, skippable),
`garbage` (bytes that are no frame), `deaf` (for ever), `input` (says what it was given), `log`, `refuse` (the request).

`save` saves a real picture as the engine does; `save:POINT` dies at that point of it for once, `save::POINT` has its
server die as well.

`each` makes the worker's part of the job batch by batch, as the engine does; see `spread.py`.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from modules.engine.pipes import Control, Pipes, claim_pipes
from modules.jobs.messages import (
    Done,
    Failed,
    Input,
    Logged,
    Notice,
    PictureSaved,
    Preview,
    Ready,
    Run,
    StepDone,
    Unusable,
)


class Over(Exception):
    """The job ended before its last word."""


def main() -> None:
    behaviour, folder = sys.argv[1], Path(sys.argv[2])
    pipes = claim_pipes()
    pipes.start()
    with (folder / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    if behaviour == "unstartable":
        sys.stderr.write("no such luck\n")
        sys.exit(3)
    if behaviour == "unusable":
        pipes.send(Unusable(error="Device cuda is not there. Use --device cpu."))
        time.sleep(0.1)
        os._exit(2)
    pipes.send(Ready(device="fake"))
    inputs: dict[str, bytes] = {}
    while True:
        message = pipes.next()
        if isinstance(message, Input):
            inputs[message.id] = message.data
        if isinstance(message, Run):
            run(pipes, message, inputs, folder, os.getpid())


def run(pipes: Pipes, job: Run, inputs: dict[str, bytes], folder: Path, who: int) -> None:
    control = pipes.control(job.job_id)
    asked = itertools.count()
    try:
        for word in job.request["prompt"].split():
            obey(word, pipes, job, control, asked, inputs, folder, who)
    except Over:
        return
    finally:
        pipes.forget(job.job_id)
    pipes.send(Done(job_id=job.job_id, interrupted=control.interrupted))


def obey(
    word: str,
    pipes: Pipes,
    job: Run,
    control: Control,
    asked: Iterator[int],
    inputs: dict[str, bytes],
    folder: Path,
    who: int,
) -> None:
    if word == "picture":
        index = next(asked)
        if index not in job.made:
            send_picture(pipes, job, index, folder)
    elif word == "step":
        pipes.send(StepDone(job_id=job.job_id, batch=0, batches=1, step=1, steps=4, images_done=0, images=1))
        pipes.send(Preview(job_id=job.job_id, data=b"jpeg"))
    elif word.startswith("save"):
        index = next(asked)
        if index not in job.made:
            from tests.jobs.saving import save  # only here, since other jobs need not wait for its imports

            save(pipes, job, index, folder, word)
    elif word == "each":
        from tests.jobs.spread import make_part

        if not make_part(pipes, job, control, folder, who):
            raise Over
    elif word == "print":
        os.write(1, b"a library says hello\n")
        print("and so does python", flush=True)  # noqa: T201
    elif word == "input":
        pipes.send(Notice(job_id=job.job_id, text=b"".join(inputs.values()).decode()))
    elif word == "fail":
        pipes.send(Failed(job_id=job.job_id, error="Sampler is unknown."))
        raise Over
    elif word == "refuse":
        pipes.send(Failed(job_id=job.job_id, error="Sampler is unknown.", kind="request"))
        raise Over
    elif word == "die" or (word == "die-once" and not job.made):
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    elif word == "exit":
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        os._exit(7)
    elif word == "log":
        pipes.send(Logged(level=logging.WARNING, text="mind the gap"))
    elif word == "garbage":
        pipes.writing.write(b"Traceback (most recent call last):\n" * 10)
    elif word == "deaf":
        time.sleep(3600)
    elif word == "wait":
        for step in range(10_000):
            pipes.send(StepDone(job_id=job.job_id, batch=0, batches=1, step=0, steps=9, images_done=0, images=1))
            if control.interrupted:
                return
            time.sleep(0.01 if step else 0)
    elif word == "batches":
        for batch in range(3):
            while not (control.skipped or control.interrupted):
                pipes.send(
                    StepDone(job_id=job.job_id, batch=batch, batches=3, step=0, steps=9, images_done=0, images=3)
                )
                time.sleep(0.01)
            control.skipped = False


def send_picture(pipes: Pipes, job: Run, index: int, folder: Path) -> None:
    path = folder / f"{job.job_id}-{index}.png"
    path.write_bytes(b"png")
    pipes.send(
        PictureSaved(
            job_id=job.job_id,
            index=index,
            path=str(path),
            seed=job.request["seed"] + index,
            infotext=f"attempt after {len(job.made)}",
            width=64,
            height=64,
        )
    )


if __name__ == "__main__":
    main()
