"""Where a job's pictures are saved, and finding those again that nobody could record; loads no torch."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from modules.catalogue import Folders
from modules.images import Mark, marked_pictures, remove_mark, remove_unfinished
from modules.jobs import Job, Picture
from modules.params import Request, Settings

log = logging.getLogger(__name__)

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_CLOCK_SLACK = 60.0
"""Seconds by which a file system's clock may be behind."""


def kept_folder(request: Request, settings: Settings, folders: Folders) -> Path:
    """The folder with a folder for each day, in which the request's pictures are kept."""
    chosen = settings.outdir_img2img_samples if request.task == "img2img" else settings.outdir_txt2img_samples
    return folders.data_dir / chosen


def unsaved_folder(job_id: str, folders: Folders) -> Path:
    """The folder of a job's pictures that are only to be shown, and go after a day."""
    return folders.outputs / "unsaved" / job_id


@dataclass(frozen=True, slots=True)
class SavedPictures:
    """The pictures on disk as the supervisor asks for them; see `SavedFiles`."""

    folders: Folders

    def found(self, job: Job, numbers: Collection[int] | None = None) -> Iterator[Picture]:
        """Those of the job's pictures with these numbers (None: all) that are saved and that it has no record of.

        What was left of them half-written is removed. Only folders of days since the job was started are looked
        through. Nobody may be working on those pictures; others of the same job may be saved just now.
        """
        known = {picture.index for picture in job.pictures}
        since = (job.started or job.created) - _CLOCK_SLACK
        for folder in self._places(job, since):
            # In turn and each by itself: what cannot be removed must not hide what is there.
            with _as_far_as_possible(folder):
                remove_unfinished(folder, job.id, numbers)
            marked: list[tuple[Path, Mark]] = []
            with _as_far_as_possible(folder):
                marked.extend(marked_pictures(folder, job.id, since))
            for path, mark in marked:
                if numbers is not None and mark.index not in numbers:
                    continue
                picture = Picture(path=path, **mark.model_dump())
                if mark.index in known:
                    self.recorded(picture)
                else:
                    known.add(mark.index)
                    yield picture

    def recorded(self, picture: Picture) -> None:
        """The picture is in the store: take the mark off its file."""
        try:
            remove_mark(picture.path)
        except OSError as error:
            log.warning("%s keeps a mark behind the picture, which does no harm: %s", picture.path, error)

    def _places(self, job: Job, since: float) -> Iterator[Path]:
        """The folders that may hold pictures of the job."""
        yield unsaved_folder(job.id, self.folders)
        first = (date.fromtimestamp(since) - timedelta(days=1)).isoformat()
        kept = kept_folder(job.request, job.settings, self.folders)
        days: list[Path] = []
        with _as_far_as_possible(kept):
            days.extend(path for path in kept.iterdir() if _DAY.fullmatch(path.name) and path.name >= first)
        yield from sorted(days)


@contextmanager
def _as_far_as_possible(folder: Path) -> Iterator[None]:
    """Within it, a folder that is not there has nothing, and one that cannot be read is told in the log."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        log.warning("Unrecorded pictures in %s cannot be looked for: %s", folder, error)
