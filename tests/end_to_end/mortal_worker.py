"""The real worker, killed for once: `python mortal_worker.py POINT WHOM TRACE --config ...`.

It dies at a point of saving the second picture that it saves (see `tests/jobs/mortal.py`); WHOM is "worker", or
"server" for both. TRACE is the file that says that this has been.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from modules.engine.__main__ import main
from modules.engine.pipes import Pipes
from modules.jobs.messages import Message, PictureSaved
from tests.jobs.mortal import die_once, dying_at


def second(end: Callable[[], None]) -> Callable[[], None]:
    """What does nothing at its first call, and `end` at its second."""
    calls = iter([lambda: None])
    return lambda: next(calls, end)()


def live(point: str, whom: str, trace: str) -> None:
    end = second(die_once(Path(trace), os.getppid() if whom == "server" else None))
    send = Pipes.send

    def send_and_end(pipes: Pipes, message: Message) -> None:
        is_told = isinstance(message, PictureSaved)
        if is_told and point == "saved":
            end()
        send(pipes, message)
        if is_told and point == "told":
            end()

    Pipes.send = send_and_end  # type: ignore[method-assign]
    with dying_at(point, end):
        main()


if __name__ == "__main__":
    arguments = sys.argv[1:4]
    del sys.argv[1:4]
    live(*arguments)
