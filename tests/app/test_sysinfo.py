"""What a report of a fault needs is written, and nothing that it must not hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from modules.app import cli


def test_the_file_holds_versions_flags_and_options_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # F001: --dump-sysinfo
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"CLIP_stop_at_last_layers": 2}')
    assert cli.main(["--dump-sysinfo", "--no-half", "--auth", "ann:secret", "--data-dir", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("sysinfo-*.json")
    assert file.name in capsys.readouterr().err
    text = file.read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["Python"] == sys.version.split()[0]
    assert found["Commandline"]["no_half"] is True
    assert found["Config"]["CLIP_stop_at_last_layers"] == 2
    assert found["Packages"]["torch"]
    assert "secret" not in text
