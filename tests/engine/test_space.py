"""A full disk is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.engine.space import save_with_patience
from modules.images import DiskFull, SaveFailed


class Disk:
    """Takes a picture after it was full for so many tries."""

    def __init__(self, full: int) -> None:
        self.full, self.tries = full, 0

    def save(self) -> Path:
        self.tries += 1
        if self.tries <= self.full:
            raise DiskFull("The disk is full.")
        return Path("a.png")


@pytest.mark.parametrize("full", [0, 1, 3])
def test_a_picture_is_saved_once_there_is_room(full: int) -> None:
    disk, told = Disk(full), []
    path = save_with_patience(disk.save, (0.0,) * 3, tell=told.append, is_stopped=lambda: False)
    assert path == Path("a.png")
    assert told == ["The disk is full. It is tried again for 0 seconds."] * full


def test_patience_ends_with_the_reason() -> None:
    disk = Disk(5)
    with pytest.raises(SaveFailed, match="disk is full"):
        save_with_patience(disk.save, (0.0,) * 3, tell=lambda text: None, is_stopped=lambda: False)
    assert disk.tries == 4


def test_a_job_that_is_stopped_does_not_wait() -> None:
    disk = Disk(1)
    with pytest.raises(DiskFull):
        save_with_patience(disk.save, (60.0,), tell=lambda text: None, is_stopped=lambda: True)
    assert disk.tries == 1
