"""A worker is started again at once, then ever later, and not at all when that is hopeless."""

from __future__ import annotations

import pytest

from modules.jobs import Patience
from modules.jobs.health import Health
from modules.jobs.running import explain_failure
from modules.jobs.worker import Exit


def test_the_wait_doubles_up_to_its_limit_and_starts_over_after_a_finished_job() -> None:
    health = Health(Patience(first_delay=1, longest_delay=5, starts=100))
    assert [health.died("x") for _ in range(6)] == [0, 1, 2, 4, 5, 5]
    health.finished_a_job()
    assert health.died("x") == 0


def test_only_starts_that_fail_in_a_row_are_hopeless() -> None:
    health = Health(Patience(starts=2))
    for _ in range(5):
        health.died("crashed")
        assert not health.hopeless
        health.started()
        health.became_ready()
        health.died("crashed later")
    health.died("crashed")
    assert not health.hopeless or "2 times" in health.hopeless
    health.died("crashed")
    assert health.hopeless
    health.hope_again()
    assert not health.hopeless
    health.died("crashed")
    assert health.hopeless


def test_a_worker_that_has_just_died_is_not_trusted_until_it_finishes_a_job() -> None:
    health = Health(Patience())
    assert not health.is_shaky
    health.died("x")
    health.became_ready()
    assert health.is_shaky
    health.finished_a_job()
    assert not health.is_shaky


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (Exit(-9), "was killed by signal 9 (SIGKILL)"),
        (Exit(-11), "was killed by signal 11 (SIGSEGV)"),
        (Exit(1, ("Traceback", "ValueError: no")), "ended with exit code 1 after printing: ValueError: no"),
        (Exit(0), "ended with exit code 0"),
        (Exit(0xC0000005), "crashed with code 0xC0000005 (access violation)"),
        (Exit(0xC0000017), "(out of memory)"),
    ],
)
def test_a_death_is_told_with_its_cause(end: Exit, words: str) -> None:
    assert words in explain_failure(end, 2)
    assert ("probably out of memory" in explain_failure(end, 2)) == end.looks_like_out_of_memory
