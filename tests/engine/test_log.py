"""What libraries log in the worker reaches the server."""

from __future__ import annotations

import io
import logging

import pytest

from modules.engine.__main__ import LogToServer
from modules.engine.pipes import Pipes
from modules.jobs.messages import Logged, read


def test_a_librarys_slip_in_a_log_call_is_told_and_hinders_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    said = io.BytesIO()
    logger = logging.Logger("library")
    logger.addHandler(LogToServer(Pipes(io.BytesIO(), said)))
    logger.warning("%d of %d", 1)
    logger.warning("%d of %d", 1, 2)
    assert read(io.BytesIO(said.getvalue())) == Logged(level=logging.WARNING, text="1 of 2")
    assert "not enough arguments" in capsys.readouterr().err
