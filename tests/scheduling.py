"""Which tests stay together where several processes share them."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

FOLDERS = ("tests/end_to_end", "tests/ui")
"""Whose tests share one running program with its worker, which is slow to start."""
APART = (
    *("test_killed.py", "test_load.py", "test_offline.py", "test_readmes.py", "test_several_workers.py"),
    *("test_handlers.py", "test_sessions.py", "test_tags.py"),
)
"""Their files that start programs of their own, or none."""


class ByProgram(LoadFileScheduling):
    """The tests of a file are on one process, and so are those of all files that share a program."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        folder, _, name = path.rpartition("/")
        return folder if folder in FOLDERS and name not in APART else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByProgram | None:
    return ByProgram(config, log) if config.getvalue("dist") in ("load", "loadfile") else None
