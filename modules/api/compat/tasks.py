"""The names that clients give their jobs (`force_task_id`), to ask for them by."""

from __future__ import annotations

import threading

KEPT = 1_000
"""As many names are remembered, the newest."""


class TaskNames:
    """Which job each name stands for. Safe to use from several threads; forgotten when the program ends."""

    def __init__(self) -> None:
        self._jobs: dict[str, str] = {}
        self._lock = threading.Lock()

    def remember(self, name: str, job_id: str) -> None:
        """Let `name` stand for this job from now on."""
        with self._lock:
            self._jobs.pop(name, None)
            self._jobs[name] = job_id
            if len(self._jobs) > KEPT:
                del self._jobs[next(iter(self._jobs))]

    def job_id(self, name: str) -> str:
        """The id of the job that `name` stands for; a name that nobody gave is taken for an id."""
        with self._lock:
            return self._jobs.get(name, name)

    def name(self, job_id: str) -> str:
        """The newest name of a job, else its id."""
        with self._lock:
            return next((name for name, known in reversed(self._jobs.items()) if known == job_id), job_id)
