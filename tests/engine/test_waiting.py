"""How the threads of PyTorch wait for each other."""

from __future__ import annotations

from modules.engine.__main__ import wait_asleep


def test_threads_sleep_while_they_wait() -> None:
    environ: dict[str, str] = {}
    wait_asleep(environ)
    assert environ == {"OMP_WAIT_POLICY": "PASSIVE"}


def test_a_persons_own_choice_stands() -> None:
    environ = {"OMP_WAIT_POLICY": "ACTIVE"}
    wait_asleep(environ)
    assert environ == {"OMP_WAIT_POLICY": "ACTIVE"}
