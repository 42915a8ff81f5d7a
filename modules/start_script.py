"""A user's webui-user.sh or webui-user.bat, read for the variables it sets and never run.

Only the standard library is used here: what it says about where packages come from counts before there are any.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

VARIABLES = frozenset(
    {
        "COMMANDLINE_ARGS",
        "IGNORE_CMD_ARGS_ERRORS",
        "SD_WEBUI_LOG_LEVEL",
        "SD_WEBUI_RESTARTING",
        "INDEX_URL",
        "TORCH_INDEX_URL",
        "TORCH_COMMAND",
        "GRADIO_TEMP_DIR",
        "CUDA_VISIBLE_DEVICES",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_CUDA_ALLOC_CONF",
        "OMP_NUM_THREADS",
    }
)
"""Those that mean something here, by A1111's names and PyTorch's; `venv_dir`, `GIT` and the like are passed over."""

LARGEST = 2**20  # bytes
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)
_SH_NAME = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
_BAT_SET = re.compile(r'\s*@?set\s+(?:"([^"]*)"|(.*))', re.IGNORECASE)
_BAT_NAME = re.compile(r"%(\w+)%", re.ASCII)


def read_start_script(root: Path, environ: MutableMapping[str, str], *, windows: bool = os.name == "nt") -> list[str]:
    """Put what the script in `root` sets into `environ`, where that does not say it already.

    Gives a line for each value that only running the script would tell; those are left out.
    """
    path = root / ("webui-user.bat" if windows else "webui-user.sh")
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode("utf-8-sig", "replace")
    except OSError:
        return []
    known, notes = dict(environ), []
    for name, value in (_bat if windows else _sh)(text):
        if name not in VARIABLES:
            continue
        if not windows and ("$(" in value or "`" in value):
            notes.append(f"{path.name}: {name} is the output of a program, which is not run; write its value there.")
            continue
        known[name] = _filled(value, known, _BAT_NAME if windows else _SH_NAME)
        if name not in environ and known[name].strip():
            environ[name] = known[name]
    return notes


def _sh(text: str) -> Iterator[tuple[str, str]]:
    """What a POSIX shell script assigns, `export` or not, without running anything in it."""
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quotation that goes on: no value of one line
            continue
        for word in words[1:] if words[:1] == ["export"] else words[:1]:
            if found := _ASSIGNED.fullmatch(word):
                yield found[1], found[2]


def _bat(text: str) -> Iterator[tuple[str, str]]:
    """What a batch file sets."""
    for line in re.sub(r"\^\r?\n", " ", text).splitlines():
        found = _BAT_SET.fullmatch(line)
        assigned = _ASSIGNED.fullmatch(found[1] if found[1] is not None else found[2]) if found else None
        if assigned:
            yield assigned[1].upper(), assigned[2].strip()


def _filled(value: str, known: Mapping[str, str], names: re.Pattern[str]) -> str:
    """The value with the variables in it replaced by theirs."""
    return names.sub(lambda found: known.get(next(name for name in found.groups() if name), ""), value)
