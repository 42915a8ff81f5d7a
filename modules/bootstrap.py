"""The private environment: made on the first run, repaired when broken, left alone when whole.

Only the standard library is used here, since nothing else is installed yet.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from modules.start_script import read_start_script

ROOT = Path(__file__).resolve().parent.parent
CUDA_INDEX = "https://download.pytorch.org/whl/cu130"
MENDED = "TAGBRUSH_MENDED"
"""The variable that tells a start that it comes after a repair."""
SIDE_BY_SIDE = ("--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile")
"""Tests run on all cores, those of a file on one, since they share what is slow to make; `-n 0` runs them in turn."""


class SetupError(Exception):
    """The environment could not be made; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Environment:
    """The private environment of one checkout."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def packages(self) -> Path:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return self.folder / ("Lib/site-packages" if os.name == "nt" else f"lib/{version}/site-packages")

    @property
    def record(self) -> Path:
        """What is fully installed; written last, so that a half-made environment has none."""
        return self.folder / "tagbrush.json"


def requirements(root: Path, extras: Sequence[str] = ()) -> list[str]:
    """The pinned requirements of the project and of `extras`, torch first."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return sorted(wanted, key=lambda requirement: not requirement.startswith("torch=="))


def torch_index(system: str, has_nvidia: bool, environ: Mapping[str, str]) -> str | None:
    """The extra package index that torch comes from, or None for PyPI alone.

    PyPI's Windows build of torch has no CUDA; its Linux build has it and its macOS build has Metal. Of A1111's
    TORCH_COMMAND only the index counts: which version is installed is not open.
    """
    if url := environ.get("TORCH_INDEX_URL") or _index_in(environ.get("TORCH_COMMAND", "")):
        return url
    return CUDA_INDEX if system == "Windows" and has_nvidia else None


def _index_in(command: str) -> str | None:
    """The package index that a pip command names."""
    found = re.search(r"--(?:extra-)?index-url[ =]+(https?://\S+)", command)
    return found[1].strip("\"'") if found else None


def package_index(environ: Mapping[str, str]) -> list[str]:
    """What pip is told where a person has another package index than PyPI (INDEX_URL)."""
    url = environ.get("INDEX_URL")
    return ["--index-url", url] if url else []


def has_nvidia_card() -> bool:
    """Whether NVIDIA's driver is installed: it brings nvidia-smi with it."""
    return shutil.which("nvidia-smi") is not None


def missing(environment: Environment, wanted: Sequence[str]) -> list[str]:
    """Those of `wanted` (`name==version`) that the environment does not hold in full; reads no file but the record.

    All of them if anything that was installed is gone: any of them may need it.
    """
    if not (environment.python.exists() and (environment.folder / "pyvenv.cfg").exists()):
        return list(wanted)
    try:
        recorded = set(json.loads(environment.record.read_text(encoding="utf-8"))["installed"])
    except (OSError, ValueError, KeyError, TypeError):
        return list(wanted)
    if recorded - set(unpacked(environment.packages)):
        return list(wanted)
    return [need for need in wanted if need not in recorded]


def unpacked(packages: Path) -> Iterator[str]:
    """`name==version` of every distribution whose record lies in `packages`, without local versions like `+cpu`."""
    for folder in packages.glob("*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        yield f"{re.sub(r'[-_.]+', '-', name).lower()}=={version.partition('+')[0]}"


def damaged(packages: Path) -> Iterator[Path]:
    """The record folder of every distribution of which a file is missing or has another size than it had."""
    for folder in packages.glob("*.dist-info"):
        try:
            with (folder / "RECORD").open(encoding="utf-8", newline="") as file:
                sizes = [(path, int(size)) for path, _, size in csv.reader(file) if size]
            whole = all((packages / path).stat().st_size == size for path, size in sizes)
        except (OSError, ValueError):
            whole = False
        if not whole:
            yield folder


def prepare(environment: Environment, extras: Sequence[str] = ()) -> None:
    """Make the environment hold the project's requirements; does nothing, and asks nobody, when it does already.

    Raises SetupError naming the requirement that could not be had and why.
    """
    wanted = requirements(environment.root, extras)
    needed = missing(environment, wanted)
    if not needed:
        return
    if not _runs(environment.python):
        _make(environment)
    environment.record.unlink(missing_ok=True)
    for folder in list(damaged(environment.packages)):
        _remove(folder)  # so that pip sees what must be unpacked again
    say(f"Installing {len(needed)} packages into {environment.folder} (this happens once) ...")
    started = time.monotonic()
    _install(environment, needed)
    installed = sorted(unpacked(environment.packages))
    environment.record.write_text(json.dumps({"installed": installed}, indent=1), encoding="utf-8")
    say(f"Installed in {time.monotonic() - started:.0f} s.")


def _runs(python: Path) -> bool:
    """Whether this interpreter starts, is an environment's, is of the version we run under, and has pip."""
    test = f"sys.prefix != sys.base_prefix and sys.version_info[:2] == {tuple(sys.version_info[:2])}"
    code = f"import pip, sys; sys.exit(not ({test}))"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def base_python() -> Path:
    """The interpreter outside of any environment."""
    return Path(getattr(sys, "_base_executable", "") or sys.executable)


def _make(environment: Environment) -> None:
    if environment.folder.exists():
        say("The environment in .venv is broken or unfinished; making it anew ...")
        _remove(environment.folder)
    else:
        say("Making the private environment .venv ...")
    made = subprocess.run(
        [base_python(), "-m", "venv", str(environment.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if made.returncode != 0:
        reason = made.stdout.strip() or f"exit code {made.returncode}"
        raise SetupError(
            f"{environment.folder} could not be made with {base_python()}:\n{reason}\n"
            "On Debian and Ubuntu, install python3-venv; else check that the folder can be written."
        )


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise SetupError(
            f"{folder} is broken and cannot be removed: {error}. Stop every other Tagbrush, delete it and start again."
        ) from error


def _install(environment: Environment, needed: Sequence[str]) -> None:
    """Install torch on its own first, since its index must not serve anything else; then the rest."""
    index = torch_index(platform.system(), has_nvidia_card(), os.environ)
    torch = [need for need in needed if need.startswith("torch==")]
    if torch:
        _pip(environment, [*torch, *(["--extra-index-url", index] if index else [])])
    if others := [need for need in needed if need not in torch]:
        _pip(environment, others)


def _pip(environment: Environment, arguments: Sequence[str]) -> None:
    options = ["--disable-pip-version-check", "--no-input", *package_index(os.environ)]
    command = [environment.python, "-m", "pip", "install", *options, *arguments]
    errors: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
    ) as pip:
        assert pip.stdout is not None
        with _clock():
            for line in pip.stdout:
                if line.startswith(("ERROR:", "HINT:")):
                    errors.append(line.partition(":")[2].strip())
                elif progress := progress_line(line):
                    say(progress)
    if pip.returncode != 0:
        raise SetupError(failure(errors, pip.returncode))


def progress_line(line: str) -> str | None:
    """What of pip's output is worth showing: each download with its size, and the last step."""
    if download := re.match(r"\s*Downloading (\S+?)(?:\.metadata)? (\(.+\))", line):
        name = download[1].rsplit("/", 1)[-1]
        return None if ".metadata" in line else f"  downloading {re.sub(r'-(py|cp).*', '', name)} {download[2]}"
    if line.startswith("Installing collected packages"):
        return f"  unpacking {line.count(',') + 1} packages ..."
    return None


def failure(errors: Sequence[str], code: int) -> str:
    """One message for a failed installation: which requirement, why, and what to do."""
    text = "\n".join(errors)
    named = re.search(r"No matching distribution found for (\S+)|requirement (\S+)", text)
    which = next((group for group in named.groups() if group), "a package") if named else "a package"
    why = text or f"pip ended with exit code {code}"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return (
        f"{which} could not be installed: {why}\n"
        f"Check the network connection, the free disk space, and that {which} is built for Python {version} on "
        f"{platform.system()} {platform.machine()}; then start again: it goes on where it stopped."
    )


def say(text: str) -> None:
    """Tell a person, beside what a command gives to a program that reads its output."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def _clock() -> Iterator[None]:
    """Show on a terminal that something still happens while pip is silent."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    started = time.monotonic()

    def tick() -> None:
        while not done.wait(1):
            sys.stderr.write(f"\r  {time.monotonic() - started:4.0f} s \r")
            sys.stderr.flush()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(python: Path, arguments: Sequence[str]) -> int:
    """Go on as `python arguments`: in this process where the system can, else as a child whose code is returned."""
    command = [str(python), *arguments]
    if os.name != "nt":
        os.execv(command[0], command)
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


def mend(environment: Environment, error: ImportError, arguments: Sequence[str]) -> int:
    """Start anew from the interpreter that made the environment, which finds and repairs what is damaged; but once."""
    if (error.name or "modules").partition(".")[0] == "modules":
        raise error
    if os.environ.get(MENDED):
        say(f"Tagbrush cannot start: {error}. Delete {environment.folder} and start again.")
        return 1
    say(f"The environment in .venv is damaged ({error}); repairing it ...")
    environment.record.unlink(missing_ok=True)
    os.environ[MENDED] = "1"
    return run(base_python(), [str(ROOT / "webui.py"), *arguments])


def leave(code: int) -> NoReturn:
    """End at once: taking a thousand imported modules apart would hold the terminal up for a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Prepare the environment, and start the server or the tests in it; `arguments` are those of the command line."""
    environment = Environment(ROOT)
    is_test = arguments[:1] == ["test"]
    if not is_test:
        for note in read_start_script(ROOT, os.environ):
            say(note)
    try:
        prepare(environment, ("test",) if is_test else ())
    except SetupError as error:
        say(f"\nTagbrush cannot start: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Start again to go on.")
        return 130
    if is_test:
        return run(environment.python, ["-m", "pytest", "--rootdir", str(ROOT), *SIDE_BY_SIDE, *arguments[1:]])
    if Path(sys.prefix).resolve() != environment.folder.resolve():
        return run(environment.python, [str(ROOT / "webui.py"), *arguments])
    try:
        from modules.app.cli import main as start
    except ImportError as error:
        return mend(environment, error, arguments)
    leave(start(list(arguments)))
