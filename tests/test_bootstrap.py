"""The private environment: made, recognised as whole, repaired, and honest about what it cannot get."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modules import bootstrap
from modules.bootstrap import (
    Environment,
    SetupError,
    damaged,
    failure,
    mend,
    missing,
    package_index,
    prepare,
    progress_line,
    requirements,
    torch_index,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A project with two requirements whose environment is whole."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy==2.0", "torch==9.9"]\n'
        '[project.optional-dependencies]\ntest = ["pytest==1.0"]\n'
    )
    environment = Environment(tmp_path)
    environment.packages.mkdir(parents=True)
    environment.python.parent.mkdir(parents=True, exist_ok=True)
    environment.python.write_text("")
    (environment.folder / "pyvenv.cfg").write_text("")
    for name in ("numpy-2.0", "torch-9.9+cpu", "sympy-1.0"):
        (environment.packages / f"{name}.dist-info").mkdir()
    environment.record.write_text(json.dumps({"installed": ["numpy==2.0", "sympy==1.0", "torch==9.9"]}))
    return environment


def test_what_is_told_of_the_setup_leaves_the_output_to_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`webui.py txt2img --json` gives a program JSON, on the first run too."""
    bootstrap.say("Making the private environment .venv ...")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "Making the private environment .venv ...\n")


@pytest.mark.parametrize(
    ("system", "nvidia", "environ", "index"),
    [
        ("Windows", True, {}, bootstrap.CUDA_INDEX),
        ("Windows", False, {}, None),
        ("Linux", True, {}, None),
        ("Darwin", False, {}, None),
        ("Linux", False, {"TORCH_INDEX_URL": "https://mirror.example/cpu"}, "https://mirror.example/cpu"),
        ("Windows", True, {"TORCH_INDEX_URL": "https://mirror.example/cu"}, "https://mirror.example/cu"),
        (
            "Linux",
            True,
            {"TORCH_COMMAND": "pip install torch==1.13.1 --extra-index-url https://mirror.example/cu117 ; rm -rf x"},
            "https://mirror.example/cu117",
        ),
        ("Linux", True, {"TORCH_COMMAND": "pip install torch"}, None),
    ],
)
def test_only_windows_with_an_nvidia_card_needs_another_index(
    system: str, nvidia: bool, environ: dict[str, str], index: str | None
) -> None:
    assert torch_index(system, nvidia, environ) == index


def test_another_package_index_is_asked_for_everything() -> None:
    # F002
    assert package_index({"INDEX_URL": "https://mirror.example/simple"}) == [
        "--index-url",
        "https://mirror.example/simple",
    ]
    assert package_index({"INDEX_URL": ""}) == package_index({}) == []


def test_torch_is_installed_before_anything_that_would_pull_another_build() -> None:
    assert requirements(ROOT)[0].startswith("torch==")
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", need) for need in requirements(ROOT, ["test"]))


def test_a_whole_environment_is_left_alone(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", _forbidden)
    monkeypatch.setattr(subprocess, "Popen", _forbidden)
    prepare(environment)


def test_the_test_extra_is_added_to_the_same_environment(environment: Environment) -> None:
    assert missing(environment, requirements(environment.root, ["test"])) == ["pytest==1.0"]


@pytest.mark.parametrize(
    "damage", ["no record", "torn record", "package gone", "what it needs gone", "no settings", "no python"]
)
def test_damage_is_noticed(environment: Environment, damage: str) -> None:
    if damage == "no record":
        environment.record.unlink()
    elif damage == "torn record":
        environment.record.write_text('{"installed": ["num')
    elif damage == "package gone":
        (environment.packages / "numpy-2.0.dist-info").rmdir()
    elif damage == "what it needs gone":
        (environment.packages / "sympy-1.0.dist-info").rmdir()
    elif damage == "no settings":
        (environment.folder / "pyvenv.cfg").unlink()
    else:
        environment.python.unlink()
    assert "numpy==2.0" in missing(environment, requirements(environment.root))


def test_a_broken_environment_is_made_anew(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interpreter does not start (here: an empty file), so the folder goes and a real one takes its place."""
    installed: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "_install", lambda environment, needed: installed.append(list(needed)))
    (environment.record).unlink()
    prepare(environment)
    assert subprocess.run([environment.python, "-c", "import pip"], check=False).returncode == 0
    assert installed == [["torch==9.9", "numpy==2.0"]]


@pytest.mark.parametrize("damage", ["none", "file gone", "file cut short", "no list of files"])
def test_a_distribution_without_all_its_files_is_found(tmp_path: Path, damage: str) -> None:
    record = tmp_path / "numpy-2.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("numpy.py,sha256=abc,12\n__pycache__/numpy.pyc,,\nnumpy-2.0.dist-info/RECORD,,\n")
    (tmp_path / "numpy.py").write_bytes(b"import this\n")
    if damage == "file gone":
        (tmp_path / "numpy.py").unlink()
    elif damage == "file cut short":
        (tmp_path / "numpy.py").write_bytes(b"import")
    elif damage == "no list of files":
        record.unlink()
    assert list(damaged(tmp_path)) == ([] if damage == "none" else [record.parent])


def test_a_package_that_cannot_be_imported_leads_to_one_repair(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "run", lambda python, arguments: started.append(list(arguments)) or 0)
    monkeypatch.setenv(bootstrap.MENDED, "")
    error = ImportError("No module named 'numpy'", name="numpy")
    assert mend(environment, error, ["--listen"]) == 0
    assert [arguments[1:] for arguments in started] == [["--listen"]]
    assert missing(environment, ["numpy==2.0"]) == ["numpy==2.0"]
    assert mend(environment, error, ["--listen"]) == 1
    assert len(started) == 1


def test_a_fault_of_our_own_is_not_taken_for_a_damaged_environment(environment: Environment) -> None:
    with pytest.raises(ImportError):
        mend(environment, ImportError("cannot import name 'x'", name="modules.app.cli"), [])


def test_a_failed_installation_leaves_no_record(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(environment: Environment, needed: list[str]) -> None:
        raise SetupError("numpy==2.0 could not be installed: no network")

    environment.record.unlink()
    monkeypatch.setattr(bootstrap, "_runs", lambda python: True)
    monkeypatch.setattr(bootstrap, "_install", fail)
    with pytest.raises(SetupError, match="no network"):
        prepare(environment)
    assert not environment.record.exists()


def test_the_message_names_the_package_and_the_reason() -> None:
    message = failure(
        [
            "Could not find a version that satisfies the requirement torch==9.9 (from versions: 2.13.0)",
            "No matching distribution found for torch==9.9",
        ],
        1,
    )
    assert message.startswith("torch==9.9 could not be installed: Could not find a version")


def test_progress_shows_downloads_with_their_size() -> None:
    line = "  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (198.2 MB)\n"
    assert progress_line(line) == "  downloading torch-2.13.0 (198.2 MB)"
    assert progress_line("Requirement already satisfied: numpy\n") is None


def test_an_old_python_gets_one_clear_line() -> None:
    code = "import sys; sys.version_info = (3, 8, 0); exec(open('webui.py').read())"
    old = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert old.returncode == 1
    assert old.stderr.strip() == "Tagbrush needs Python 3.11 or newer; this is Python 3.8."


def _forbidden(*arguments: object, **options: object) -> None:
    raise AssertionError("a whole environment needs no other process")
