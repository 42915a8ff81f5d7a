"""Who starts with an A1111 user's config.json is told what it lets clients do."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from modules.app.assemble import assemble
from modules.app.options import parse

ASKED = '{"api_enable_requests": true}'


@pytest.mark.parametrize(
    ("config", "flags", "told"),
    [(ASKED, (), 1), (ASKED, ("--offline",), 0), ('{"api_enable_requests": false}', (), 0), ("{}", (), 0)],
)
def test_a_config_that_has_pictures_fetched_is_told_of_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, config: str, flags: tuple[str, ...], told: int
) -> None:
    (tmp_path / "config.json").write_text(config)
    with caplog.at_level(logging.WARNING):
        services = assemble(parse(["--data-dir", str(tmp_path), "--device", "cpu", *flags], {}))
        services.catalogue.close()
        services.jobs.close()
    lines = [line for line in caplog.messages if "api_enable_requests" in line]
    assert len(lines) == told
    assert all(str(tmp_path / "config.json") in line and "--offline" in line for line in lines)
