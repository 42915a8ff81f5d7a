"""Waiting for room on a full disk; loads no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from modules.images import DiskFull

SPACE_PAUSES = (1.0,) * 20
"""Seconds between tries to save a picture on a full disk."""


def save_with_patience(
    save: Callable[[], Path], pauses: Sequence[float], *, tell: Callable[[str], None], is_stopped: Callable[[], bool]
) -> Path:
    """The path that `save` gives; a full disk has these seconds to have room again, unless the job is stopped.

    `tell` is called with what is waited for. Raises SaveFailed.
    """
    for pause in pauses:
        try:
            return save()
        except DiskFull as error:
            if is_stopped():
                raise
            tell(f"{error} It is tried again for {sum(pauses):.0f} seconds.")
            time.sleep(pause)
    return save()
