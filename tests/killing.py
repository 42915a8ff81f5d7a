"""Processes that are killed at a moment that a test chooses."""

from __future__ import annotations

import os
import signal

from modules.jobs import Event, Supervisor


def kill_at_the_first_picture(supervisor: Supervisor, pid: int) -> None:
    """Have a process killed as soon as the supervisor knows of a picture, before it hears what came after that."""

    def announce(event: Event) -> None:
        supervisor.bus.publish(event)
        if event.kind == "picture":
            supervisor.store.announce = supervisor.bus.publish
            os.kill(pid, signal.SIGKILL)

    supervisor.store.announce = announce
