"""The durable queue of jobs, what is told about them, and the supervisor of the process that does them."""

from .bus import EventBus, Listener
from .facade import Jobs, WorkerLink
from .health import Patience
from .ledger import SavedFiles
from .process import WorkerProcess
from .schema import (
    ErrorKind,
    Event,
    EventKind,
    Job,
    JobState,
    Picture,
    Progress,
    QueueBlocked,
    UnknownJob,
    WorkerState,
    WorkerStatus,
)
from .store import JobStore
from .supervisor import Supervisor
from .unsaved import remove_unsaved
from .worker import Exit, Receive, Spawn, Worker

__all__ = [
    "ErrorKind",
    "Event",
    "EventBus",
    "EventKind",
    "Exit",
    "Job",
    "JobState",
    "JobStore",
    "Jobs",
    "Listener",
    "Patience",
    "Picture",
    "Progress",
    "QueueBlocked",
    "Receive",
    "SavedFiles",
    "Spawn",
    "Supervisor",
    "UnknownJob",
    "Worker",
    "WorkerLink",
    "WorkerProcess",
    "WorkerState",
    "WorkerStatus",
    "remove_unsaved",
]
