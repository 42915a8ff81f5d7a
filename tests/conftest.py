"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.scheduling import pytest_xdist_make_scheduler

__all__ = ["pytest_xdist_make_scheduler"]

_SIDE_BY_SIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _SIDE_BY_SIDE > 1:
    # Before anybody imports torch, here or in a server that a test starts: more threads than cores wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _SIDE_BY_SIDE)))

# Whether a commit passes must depend on the commit alone: not on how busy the machine is, nor on examples drawn anew.
# The same examples at every run need not be many.
_UNHURRIED = settings(deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.register_profile("gate", _UNHURRIED, derandomize=True, print_blob=True, max_examples=40)
settings.register_profile("explore", _UNHURRIED, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(scope="session", autouse=True)
def _patient_catalogues() -> Iterator[None]:
    """Files are examined and hashed at once, however slow the machine: what is left for later has tests of its own."""
    from modules.catalogue import Catalogue
    from modules.catalogue import catalogue as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PATIENCE", 60.0)
        patch.setattr(module, "HASH_PATIENCE", 60.0)
        patch.setitem(Catalogue.refresh.__kwdefaults__, "patience", 60.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _swift_watches() -> Iterator[None]:
    """A catalogue closes at the next look of its watch: nobody waits for it after every test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modules.catalogue.watch.PAUSE_MS", 20)
        yield
