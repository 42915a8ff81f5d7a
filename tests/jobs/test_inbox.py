"""What waits for the supervisor's thread is done in order, and does not pile up."""

from __future__ import annotations

import queue
from functools import partial

import pytest

from modules.jobs.inbox import Inbox


def do_all(inbox: Inbox) -> None:
    while True:
        try:
            action = inbox.get(timeout=0)
        except queue.Empty:
            return
        action()


def test_of_one_name_only_the_latest_is_done_in_the_place_of_the_first() -> None:
    done: list[str] = []
    inbox = Inbox()
    for number in range(3):
        inbox.put_latest("progress", partial(done.append, f"progress {number}"))
        inbox.put_latest("preview", partial(done.append, f"preview {number}"))
        inbox.put(partial(done.append, f"picture {number}"))
    do_all(inbox)
    assert done == ["progress 2", "preview 2", "picture 0", "picture 1", "picture 2"]


def test_what_comes_after_it_was_done_is_done_as_well() -> None:
    done: list[int] = []
    inbox = Inbox()
    for number in range(3):
        inbox.put_latest("progress", partial(done.append, number))
        do_all(inbox)
    assert done == [0, 1, 2]


def test_who_waits_in_vain_is_told_so() -> None:
    with pytest.raises(queue.Empty):
        Inbox().get(timeout=0)
