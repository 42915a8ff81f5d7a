"""The actions that wait for the supervisor's thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable
from functools import partial

Action = Callable[[], None]


class Inbox:
    """Actions in the order in which they were put; any thread may put one, and never waits."""

    def __init__(self) -> None:
        self._actions: queue.SimpleQueue[Action] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._latest: dict[Hashable, Action] = {}

    def put(self, action: Action) -> None:
        """Have it done after all that waits."""
        self._actions.put(action)

    def put_latest(self, name: Hashable, action: Action) -> None:
        """Have it done in place of the one of this name that still waits, if there is one; else after all that waits.

        So what passes does not pile up while the thread waits for the queue file.
        """
        with self._lock:
            is_waiting = name in self._latest
            self._latest[name] = action
        if not is_waiting:
            self._actions.put(partial(self._do_latest, name))

    def get(self, timeout: float) -> Action:
        """The next action. Raises queue.Empty when there is none for `timeout` seconds."""
        return self._actions.get(timeout=timeout)

    def _do_latest(self, name: Hashable) -> None:
        with self._lock:
            action = self._latest.pop(name)
        action()
