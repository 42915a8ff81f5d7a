"""What can go wrong between a client and its server, in the server's words where it has said any."""

from __future__ import annotations

from modules.params import TagbrushError

from .answers import Job


class ClientError(TagbrushError):
    """Root of the errors of this package."""


class Unreachable(ClientError):
    """No answer: the server is not running, is being started, or is not there at all."""


class Refused(ClientError):
    """An answer that is an error; `status` is HTTP's, `kind` the server's name of it."""

    def __init__(self, status: int, kind: str, words: str) -> None:
        self.status, self.kind = status, kind
        super().__init__(words)


class LoginNeeded(Refused):
    """The server asks for a user name and a password, or for others (401)."""


class NotFound(Refused):
    """What was asked for by its id is not there (404)."""


class TooManyAttempts(Refused):
    """Too many wrong passwords; the server's words say when to try again (429)."""


class WrongRequest(Refused):
    """A name or a value that the server cannot use (400, 413 and 422)."""


class JobFailed(ClientError):
    """A job that ended without being done; `job` is the whole of it, with the pictures that it made."""

    def __init__(self, job: Job, words: str) -> None:
        self.job, self.job_id, self.state = job, job.id, job.state
        super().__init__(words)


class TookTooLong(ClientError):
    """A job that was not over in the time that it was waited for; it goes on, and `job` is how it stood."""

    def __init__(self, job: Job, words: str) -> None:
        self.job = job
        super().__init__(words)


class NotTagbrush(ClientError):
    """An answer that Tagbrush does not give: another program, or another version of it, is at the address."""


KINDS: tuple[tuple[tuple[int, ...], type[Refused]], ...] = (
    ((401,), LoginNeeded),
    ((404,), NotFound),
    ((429,), TooManyAttempts),
    ((400, 413, 422), WrongRequest),
)

AWAY = frozenset({502, 503, 504})
"""Statuses of a server that may do it in a moment: a proxy's while it is started again, its own while it is full."""


def refusal(status: int, body: object, reason: str) -> Refused:
    """The error for an answer of this status, whose body may be the server's JSON."""
    told = body if isinstance(body, dict) else {}
    words = told.get("errors") or told.get("detail") or f"The server answered {status} {reason}."
    kind = next((kind for statuses, kind in KINDS if status in statuses), Refused)
    return kind(status, str(told.get("error", "")), str(words))


def is_away(error: Exception) -> bool:
    """Whether the same call may be answered in a moment."""
    return isinstance(error, Unreachable) or (isinstance(error, Refused) and error.status in AWAY)
