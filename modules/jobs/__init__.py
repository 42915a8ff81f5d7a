"""The durable queue of jobs, what is told about them, and the supervisor of the process that does them."""

from .bus import EventBus, Listener
from .facade import Jobs, WorkerLink, remove_unsaved
from .health import Patience
from .schema import Event, EventKind, Job, JobState, Picture, Progress, UnknownJob, WorkerState, WorkerStatus
from .store import JobStore
from .supervisor import Supervisor

__all__ = [
    "Event",
    "EventBus",
    "EventKind",
    "Job",
    "JobState",
    "JobStore",
    "Jobs",
    "Listener",
    "Patience",
    "Picture",
    "Progress",
    "Supervisor",
    "UnknownJob",
    "WorkerLink",
    "WorkerState",
    "WorkerStatus",
    "remove_unsaved",
]
