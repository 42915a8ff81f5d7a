"""A server without web or torch: `python server.py FOLDER [POINT [PROMPT]]` does the jobs of FOLDER and ends.

With a prompt it submits a job first; at a point of `SERVER_POINTS`, it ends itself by SIGKILL, and at `stopping` when
the job has been asked to end. The variables WORKERS and BATCHES say how many there are.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from modules.engine.saved import SavedPictures
from modules.jobs import EventBus, Job, Jobs, JobState, JobStore, Patience, Picture, Supervisor, WorkerProcess
from modules.params import Txt2ImgRequest
from tests.jobs.mortal import die, folders_of, pictures_in

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("fake_worker.py")


class MortalStore(JobStore):
    """Dies as the second picture is recorded."""

    point = ""

    def stop(self, job_id: str, wanted: JobState = JobState.CANCELLED) -> Job:
        super().stop(job_id, wanted)
        return die()

    def add_picture(self, picture: Picture, then: Callable[[], None] = lambda: None) -> None:
        if picture.index != 1:
            super().add_picture(picture, then)
            return
        if self.point == "told":
            die()

        def end() -> None:
            if self.point == "recorded":
                die()
            then()

        super().add_picture(picture, end)
        if self.point == "cleared":
            die()


def main(folder: str, point: str = "", *prompt: Any) -> None:
    store = MortalStore(Path(folder) / "queue.db")
    store.point = point
    bus = EventBus(store.events_after, store.last_event_id())
    store.announce = bus.publish
    command = [sys.executable, str(WORKER), "good", folder]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    files = SavedPictures(folders_of(Path(folder)))
    spawns = [partial(WorkerProcess, command, env=env)] * int(os.environ.get("WORKERS", "1"))
    supervisor = Supervisor(store, bus, spawns, files=files, patience=Patience(first_delay=0.01))
    jobs = Jobs(store, bus, supervisor)
    for text in prompt:
        jobs.submit(Txt2ImgRequest(prompt=text, seed=5, n_iter=int(os.environ.get("BATCHES", pictures_in(text)))))
    jobs.start()
    for job in jobs.active():
        if point == "stopping":
            while not jobs.get(job.id).pictures:
                time.sleep(0.01)
            jobs.interrupt(job.id)
        jobs.wait(job.id)
    jobs.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
