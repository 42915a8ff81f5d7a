"""Who makes the pictures of a command: a server that runs, or an engine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from modules import __version__
from modules.api import Services, check_job
from modules.client import Job, Picture, Status, Worker
from modules.images import whole_picture
from modules.params import make_request


class Studio(Protocol):
    """What a command asks of whoever makes its pictures, such as a `Client`."""

    def submit(self, prompt: str, **fields: Any) -> Job: ...

    def job(self, job: Job | str) -> Job: ...

    def interrupt(self, job: Job | str) -> Job: ...

    def picture(self, picture: Picture) -> bytes: ...

    def status(self) -> Status: ...


class Own:
    """Services of this process, and their worker."""

    def __init__(self, services: Services) -> None:
        self._services, self._jobs = services, services.jobs

    def submit(self, prompt: str, **fields: Any) -> Job:
        """The job, next in the queue. Raises BadRequest, UnknownName, BadPicture and BadFile."""
        for name in ("mask", "firstpass_image"):
            if name in fields:
                fields[name] = self._stored(fields[name])
        if "init_images" in fields:
            fields["init_images"] = [self._stored(data) for data in fields["init_images"]]
        request = make_request({**fields, "prompt": prompt})
        check_job(self._services, request)
        return self._told(self._jobs.submit(request).id)

    def job(self, job: Job | str) -> Job:
        return self._told(job if isinstance(job, str) else job.id)

    def interrupt(self, job: Job | str) -> Job:
        self._jobs.interrupt(job if isinstance(job, str) else job.id)
        return self.job(job)

    def picture(self, picture: Picture) -> bytes:
        job_id = picture.url.split("/")[-3]
        return Path(self._jobs.picture(job_id, picture.index).path).read_bytes()

    def status(self) -> Status:
        worker = Worker.model_validate(self._jobs.worker.model_dump(mode="json"))
        return Status(version=__version__, ui="off", worker=worker)

    def _stored(self, data: bytes) -> str:
        whole_picture(data)
        return self._jobs.add_input(data)

    def _told(self, job_id: str) -> Job:
        return Job.model_validate(self._jobs.get(job_id).wire())


@contextmanager
def working(services: Services) -> Iterator[Own]:
    """The services at work, and stopped afterwards; a job that still runs waits for the next start."""
    services.jobs.start()
    services.jobs.page_loaded()
    try:
        yield Own(services)
    finally:
        services.jobs.close()
        services.catalogue.close()
