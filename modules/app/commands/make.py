"""The commands themselves: have pictures made, show how far they are, write their files."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from modules.client import Client, Job, LoginNeeded, Picture, WrongRequest
from modules.engine.offline import be_quiet, stay_here
from modules.images import BadPicture
from modules.params import BadRequest, TagbrushError, UnknownName

from ..address import running_on
from ..assemble import assemble
from ..options import BadFlag
from .studio import Studio, working
from .words import Order, read

LOOK = 0.2
"""Seconds between two looks at the job."""

WRONG = (BadFlag, BadRequest, BadPicture, UnknownName, WrongRequest)
"""Errors of whoever wrote the command: exit code 2."""

INTERRUPTED = 130


def main(argv: Sequence[str], console: Console) -> int:
    """Make the pictures that the command asks for. Gives the exit code: 0 when they are there, 1 when the job failed
    or could not be had, 2 for a command that cannot be carried out as it stands, 130 after Ctrl+C.
    """
    try:
        order = read(argv, os.environ)
        with studio(order) as maker:
            return make(order, maker, console)
    except TagbrushError as error:
        advice = " Give them as --auth NAME:PASSWORD." if isinstance(error, LoginNeeded) else ""
        console.print(f"{error}{advice}", style="bold red")
        return 2 if isinstance(error, WRONG) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


@contextmanager
def studio(order: Order) -> Iterator[Studio]:
    """Whoever makes the pictures: the server named, the one that uses this data folder, or an engine of our own."""
    url = order.url or running_on(order.options.data_dir)
    if url is not None:
        with Client(url, auth=order.login) as client:
            client.status()  # one that is not there is not waited for, as one that goes away later is
            yield client
        return
    be_quiet(os.environ)
    if order.options.ray is None:
        stay_here(always=order.options.offline)
    with working(assemble(order.options)) as own:
        yield own


def make(order: Order, maker: Studio, console: Console) -> int:
    """Have the job made, write its pictures and tell of them. Ctrl+C stops it and keeps what exists."""
    fields = dict(order.fields)
    job = maker.submit(fields.pop("prompt", ""), **fields)
    was_interrupted = False
    with _bar(console, hidden=order.is_quiet or not console.is_terminal) as bar:
        shown = bar.add_task("waiting", total=1.0)
        while not job.is_over:
            try:
                time.sleep(LOOK)
                job = maker.job(job)
                bar.update(shown, description=_doing(job, maker), completed=_share(job))
            except KeyboardInterrupt:
                if was_interrupted:
                    raise
                was_interrupted = True
                job = maker.interrupt(job)
    paths = _written(order.out, job, maker)
    for notice in job.notices:
        console.print(notice, style="yellow")
    sys.stdout.write(_as_json(job, paths) if order.as_json else "".join(f"{path}\n" for path in paths))
    sys.stdout.flush()
    if job.state == "done":
        return 0
    if was_interrupted:
        console.print("Stopped.")
        return INTERRUPTED
    console.print(job.error or f"The job was {job.state}.", style="bold red")
    return 2 if job.error_kind == "request" else 1


def _bar(console: Console, *, hidden: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=hidden, transient=True)


def _doing(job: Job, maker: Studio) -> str:
    """What is happening, in a few words."""
    done = job.progress
    if done is not None and done.step:
        of = f"picture {min(done.images_done + 1, done.images)} of {done.images}, " if done.images > 1 else ""
        return f"{of}step {done.step} of {done.steps}"
    if job.position is not None and job.position > 1:
        return f"{job.position - 1} before this one"
    return maker.status().worker.message or job.state


def _share(job: Job) -> float:
    if job.is_over:
        return 1.0
    return job.progress.progress if job.progress else 0.0


def _written(out: str, job: Job, maker: Studio) -> list[Path]:
    """The files of the job's pictures, in order. Raises TagbrushError where one cannot be written."""
    paths = named(out, job.pictures)
    for picture, path in zip(job.pictures, paths, strict=True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(maker.picture(picture))
        except OSError as error:
            raise TagbrushError(f"{path} cannot be written: {error.strerror or error}. Give another --out.") from error
    return paths


def named(out: str, pictures: Sequence[Picture]) -> list[Path]:
    """A path for each picture: {seed} and {index} filled in, and a number where two would be the same."""
    plain = [
        Path(out.replace("{seed}", str(picture.seed)).replace("{index}", str(number)))
        for number, picture in enumerate(pictures, 1)
    ]
    if len(set(plain)) == len(plain):
        return plain
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number, path in enumerate(plain, 1)]


def _as_json(job: Job, paths: Sequence[Path]) -> str:
    pictures: list[dict[str, Any]] = [
        {"path": str(path), **picture.model_dump(exclude={"url", "index"})}
        for picture, path in zip(job.pictures, paths, strict=True)
    ]
    told = {"state": job.state, "error": job.error, "notices": list(job.notices), "pictures": pictures}
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"
