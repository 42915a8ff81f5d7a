"""Saving a picture as the engine does, and dying on the way."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

from PIL import Image

from modules.engine.pipes import Pipes
from modules.engine.saved import kept_folder
from modules.images import Mark, save_picture
from modules.jobs.messages import PictureSaved, Run
from modules.params import Settings, make_request
from tests.jobs.mortal import die_once, dying_at, folders_of


def save(pipes: Pipes, job: Run, index: int, folder: Path, word: str) -> None:
    """Save picture `index` in the folder of its day, and die on the way if the word says so."""
    _, _, point = word.partition(":")
    server = os.getppid() if point.startswith(":") else None
    point = point.lstrip(":")
    end = die_once(folder / f"died at {word.replace(':', ' ')}", server)
    mark = Mark(job_id=job.job_id, index=index, seed=5 + index, infotext=f"picture {index}", width=8, height=8)
    with dying_at(point, end):
        path = save_picture(
            Image.new("RGB", (mark.width, mark.height), "teal"),
            kept_folder(make_request(job.request), Settings(), folders_of(folder)),
            seed=mark.seed,
            infotext=mark.infotext,
            day=date.today(),
            mark=mark,
        )
    if point == "saved":
        end()
    pipes.send(PictureSaved(path=str(path), **mark.model_dump()))
    if point == "told":
        end()
