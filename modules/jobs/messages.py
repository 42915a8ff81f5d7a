"""What server and worker say to each other, and how a message becomes bytes.

A frame is a mark, the lengths of header and payload, a JSON header that names the message, and the
payload: pictures travel as bytes, never inside JSON. The same messages serve a pipe today and another
transport later.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .schema import ErrorKind, PictureKind

_FRAME = struct.Struct(">4sII")
_MARK = b"TGB1"
_LONGEST = 1 << 30


class FrameError(Exception):
    """Bytes that are not a frame: the two ends do not speak the same language."""


class Message(BaseModel):
    """One thing said; `data` is the binary payload of the kinds that have one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# From the server to the worker.


class Input(Message):
    """A picture that the next Run needs, by the sha256 of its bytes."""

    id: str
    data: bytes = Field(default=b"", exclude=True, repr=False)


class Run(Message):
    """Make these pictures; those in `made` exist already from an earlier attempt.

    Of a job that several workers share, `only` are the numbers of the pictures that are this one's.
    """

    job_id: str
    request: Mapping[str, Any]
    settings: Mapping[str, Any]
    made: tuple[int, ...] = ()
    only: tuple[int, ...] | None = None


class Interrupt(Message):
    """Stop this job within one step and keep what exists."""

    job_id: str


class Skip(Message):
    """Leave the current batch and go on with the next."""

    job_id: str


class Preload(Message):
    """Have the checkpoint of these settings in memory when there is nothing else to do."""

    settings: Mapping[str, Any]


class Unload(Message):
    """Keep no model in memory until the next job; passed over while there is one."""


class Refresh(Message):
    """Files of this kind (all kinds when empty) changed on disk."""

    kind: str = ""


class FullSpeed(Message):
    """The page has loaded: stop holding back."""


class Here(Message):
    """The files of the worker's Need of this number lie where it looks for them, unless `error` says why not."""

    number: int
    error: str = ""


# From the worker to the server.


class Starting(Message):
    """What the worker is busy with before it can take a job."""

    text: str


class Ready(Message):
    """The worker can take a job; `device` is for a person, as in "NVIDIA H100 (cuda)"."""

    device: str


class Loading(Message):
    """The worker is reading a checkpoint; an empty text says that it is done."""

    text: str = ""


class StepDone(Message):
    """A sampling step is done; counts are from 0 and `step` is the number of finished ones."""

    job_id: str
    batch: int
    batches: int
    step: int
    steps: int
    images_done: int
    images: int


class Preview(Message):
    """What the picture looks like so far, as a small JPEG."""

    job_id: str
    data: bytes = Field(default=b"", exclude=True, repr=False)


class PictureSaved(Message):
    """A picture is finished and lies at `path`."""

    job_id: str
    index: int
    path: str
    seed: int
    subseed: int = -1
    infotext: str
    width: int
    height: int
    kind: PictureKind = "picture"


class Notice(Message):
    """Something that the person should know about this job though it goes on."""

    job_id: str
    text: str


class Done(Message):
    """The job is over; `interrupted` when it was asked to stop before its last picture."""

    job_id: str
    interrupted: bool = False


class Failed(Message):
    """The job cannot be done, in words for a person; the worker itself is well."""

    job_id: str
    error: str
    kind: ErrorKind = "fault"


class Logged(Message):
    """A line for the log, with its level (`logging.WARNING` ...) and any traceback."""

    level: int
    text: str


class Need(Message):
    """Without these files, by path, the plan in hand cannot be made; said by a worker with another disk than ours."""

    number: int
    files: tuple[str, ...]


class Unusable(Message):
    """The worker cannot work at all (a device that is not there); it ends after saying so."""

    error: str


_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        Input,
        Run,
        Interrupt,
        Skip,
        Preload,
        Unload,
        Refresh,
        FullSpeed,
        Here,
        Starting,
        Ready,
        Loading,
        StepDone,
        Preview,
        PictureSaved,
        Notice,
        Done,
        Failed,
        Logged,
        Need,
        Unusable,
    )
}


def encode(message: Message) -> bytes:
    """The frame that carries `message`."""
    header = json.dumps([type(message).__name__, message.model_dump(mode="json")]).encode()
    payload = getattr(message, "data", b"")
    return _FRAME.pack(_MARK, len(header), len(payload)) + header + payload


def read(stream: BinaryIO) -> Message | None:
    """The next message of `stream`, or None at its end, also when it ends within a frame.

    Raises FrameError for anything else than a known message.
    """
    start = _read_exactly(stream, _FRAME.size)
    if start is None:
        return None
    mark, header_length, payload_length = _FRAME.unpack(start)
    if mark != _MARK or max(header_length, payload_length) > _LONGEST:
        raise FrameError(f"expected a frame, got {start!r}")
    header = _read_exactly(stream, header_length)
    payload = _read_exactly(stream, payload_length)
    if header is None or payload is None:
        return None
    return _decode(header, payload)


def _decode(header: bytes, payload: bytes) -> Message:
    try:
        name, fields = json.loads(header)
        kind = _KINDS[name]
        return kind(**fields, data=payload) if "data" in kind.model_fields else kind(**fields)
    except (ValueError, LookupError, TypeError, AttributeError, ValidationError) as error:
        raise FrameError(f"not a message of ours: {header[:200]!r}") from error


def _read_exactly(stream: BinaryIO, length: int) -> bytes | None:
    """`length` bytes, or None if the stream ends before."""
    parts: list[bytes] = []
    while length:
        part = stream.read(length)
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
