"""Whether a node would make the same pictures: the code and the libraries on both sides."""

from __future__ import annotations

import hashlib
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import modules

LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow", "tokenizers", "ftfy", "pydantic")
"""What has a part in a picture; all of them are pinned in pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What a machine runs."""

    node: str
    tagbrush: str
    code: str
    python: str
    libraries: Mapping[str, str]

    def differences(self, other: Versions) -> tuple[str, ...]:
        """What is not the same there, in words: "torch is 2.12.0 there and 2.13.0 here"."""
        ours = {"Tagbrush": self.tagbrush, "Tagbrush's code": self.code, "Python": self.python, **self.libraries}
        theirs = {"Tagbrush": other.tagbrush, "Tagbrush's code": other.code, "Python": other.python, **other.libraries}
        return tuple(
            f"{name} is {theirs.get(name, 'missing')} there and {value} here"
            for name, value in ours.items()
            if theirs.get(name) != value
        )


def versions() -> Versions:
    """What this machine runs."""
    return Versions(
        node=socket.gethostname(),
        tagbrush=modules.__version__,
        code=_digest(code_root() / "modules")[:12],
        python=".".join(platform.python_version_tuple()[:2]),
        libraries={name: _version(name) for name in LIBRARIES},
    )


def code_root() -> Path:
    """The folder that holds `modules`."""
    return Path(__file__).resolve().parents[2]


def _version(name: str) -> str:
    """A library's version, without what it was built for: torch for CUDA and for processors is one version."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "missing"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
