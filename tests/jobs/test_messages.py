"""What one end says is what the other end hears."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.jobs.messages import (
    Done,
    FrameError,
    Input,
    Message,
    Notice,
    PictureSaved,
    Preview,
    Refresh,
    Run,
    encode,
    read,
)

TEXT = st.text()
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Input, id=TEXT, data=st.binary()),
    st.builds(Run, job_id=TEXT, request=st.dictionaries(TEXT, TEXT), settings=st.just({}), made=st.just((0, 2))),
    st.builds(Preview, job_id=TEXT, data=st.binary()),
    st.builds(Notice, job_id=TEXT, text=TEXT),
    st.builds(Done, job_id=TEXT, interrupted=st.booleans()),
    st.builds(Refresh, kind=TEXT),
    st.builds(
        PictureSaved,
        job_id=TEXT,
        index=st.integers(0, 9),
        path=TEXT,
        seed=st.integers(0, 2**64 - 1),
        infotext=TEXT,
        width=st.just(64),
        height=st.just(64),
    ),
)


@given(st.lists(MESSAGES, max_size=4))
def test_messages_survive_the_wire(messages: list[Message]) -> None:
    stream = io.BytesIO(b"".join(map(encode, messages)))
    heard = [read(stream) for _ in messages]
    assert heard == messages
    assert [getattr(message, "data", None) for message in heard] == [getattr(m, "data", None) for m in messages]
    assert read(stream) is None


@given(MESSAGES, st.data())
def test_a_stream_that_ends_within_a_frame_ends(message: Message, data: st.DataObject) -> None:
    frame = encode(message)
    assert read(io.BytesIO(frame[: data.draw(st.integers(0, len(frame) - 1))])) is None


@pytest.mark.parametrize(
    "noise",
    [
        b"Traceback (most recent call last):\n",
        b"TGB1" + b"\xff" * 100,
        encode(Done(job_id="a")).replace(b"Done", b"Dome"),
        encode(Done(job_id="a")).replace(b"job_id", b"jobbid"),
        encode(Done(job_id="a")).replace(b"{", b"["),
    ],
)
def test_anything_else_is_refused(noise: bytes) -> None:
    with pytest.raises(FrameError):
        read(io.BytesIO(noise))


def test_pictures_travel_as_bytes() -> None:
    data = bytes(range(256)) * 100
    assert len(encode(Preview(job_id="a", data=data))) < len(data) + 100
