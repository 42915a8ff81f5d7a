"""Styles on disk: A1111's `styles.csv` and its like, read and written so that A1111 reads them too (D062)."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from modules.params import BadFile, UnknownName

COLUMNS = ("name", "prompt", "negative_prompt")
LARGEST = 32 * 2**20  # bytes
DIVIDER = 40  # characters
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class StyleEntry:
    """A style, and the file in which it is kept."""

    name: str
    prompt: str
    negative_prompt: str
    path: Path


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a file holds: its rows by column, those that are no styles and columns of other programs included."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]

    def entries(self) -> Iterator[StyleEntry]:
        """The styles of the file; a row whose name begins with `#` is a remark."""
        for row in self.rows:
            if row["name"] and not row["name"].startswith("#"):
                yield StyleEntry(row["name"], row["prompt"], row["negative_prompt"], self.path)


class StyleFiles:
    """The styles of several files. What is changed on disk shows at the next look."""

    def __init__(self, places: Sequence[Path]) -> None:
        """`places` are files, and patterns such as `styles/*.csv`; a new style goes to the first place."""
        self._places = tuple(places)
        self._sheets: dict[Path, tuple[Identity, Sheet]] = {}
        self._writing = Lock()

    def entries(self) -> tuple[StyleEntry, ...]:
        """Every style once, in the order of the files; of two with one name the later counts. Files may be broken."""
        found = (entry for sheet in self._read_all()[0] for entry in sheet.entries())
        return tuple({entry.name: entry for entry in found}.values())

    def files(self) -> tuple[Path, ...]:
        """The files that there are, each once."""
        return _files(self._places)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with files that cannot be read, in words."""
        return tuple(str(problem) for problem in self._read_all()[1])

    def listing(self) -> tuple[str, ...]:
        """The styles' names for a person to choose from; where there are several files, each after its title."""
        sheets, _ = self._read_all()
        shown = {entry.name: entry.path for entry in self.entries()}
        lines: list[str] = []
        for sheet in sheets:
            if len(sheets) > 1:
                lines.append(divider(sheet.path))
            lines += [name for name, path in shown.items() if path == sheet.path]
        return tuple(lines)

    def save(self, name: str, prompt: str, negative_prompt: str) -> StyleEntry:
        """Keep a style: in the file that has one of its name, else in the first. Raises BadFile, ValueError."""
        if not name.strip() or name.startswith("#"):
            raise ValueError(f'A style cannot be called "{name}": give it a name that does not begin with "#".')
        with self._writing:
            path = next((entry.path for entry in self.entries() if entry.name == name), self._home())
            sheet = _read(path) if path.is_file() else Sheet(path, COLUMNS, ())
            row = {"name": name, "prompt": prompt, "negative_prompt": negative_prompt}
            kept = [{**old, **row} if old["name"] == name else old for old in sheet.rows]
            if all(old["name"] != name for old in sheet.rows):
                kept.append(row)
            _write(Sheet(path, sheet.columns, tuple(kept)))
        return StyleEntry(name, prompt, negative_prompt, path)

    def remove(self, name: str) -> None:
        """Forget a style, in every file that has it. Raises UnknownName, BadFile."""
        with self._writing:
            known = self.entries()
            if all(entry.name != name for entry in known):
                raise UnknownName("Style", name, [entry.name for entry in known])
            for sheet in self._read_all()[0]:
                rows = tuple(row for row in sheet.rows if row["name"] != name)
                if len(rows) < len(sheet.rows):
                    _write(Sheet(sheet.path, sheet.columns, rows))

    def _home(self) -> Path:
        """Where a style goes that is in no file yet."""
        if not self._places:
            raise ValueError("There is no file for styles.")
        first = self._places[0]
        if not _is_pattern(first):
            return first
        return next(iter(_matching(first)), first.parent / "styles.csv")

    def _read_all(self) -> tuple[list[Sheet], list[BadFile]]:
        sheets, problems = [], []
        for path in _files(self._places):
            try:
                sheets.append(self._current(path))
            except BadFile as problem:
                problems.append(problem)
        return sheets, problems

    def _current(self, path: Path) -> Sheet:
        """The file's content, read again where the file is not the one that was read."""
        try:
            status = path.stat()
        except OSError as error:
            raise BadFile(path, f"cannot be read: {error}.") from error
        identity = (status.st_size, status.st_mtime_ns)
        known = self._sheets.get(path)
        if known is None or known[0] != identity:
            known = self._sheets[path] = (identity, _read(path))
        return known[1]


def divider(path: Path) -> str:
    """The title of a file among its styles' names: `---------------- MINE -----------------`."""
    return f" {path.stem.upper()} ".center(DIVIDER, "-")


def _files(places: Iterable[Path]) -> tuple[Path, ...]:
    """The files that there are, each once, in the order of their places."""
    found = [path for place in places for path in (_matching(place) if _is_pattern(place) else [place])]
    return tuple(path for path in dict.fromkeys(found) if path.is_file())


def _is_pattern(place: Path) -> bool:
    return "*" in place.name or "?" in place.name


def _matching(pattern: Path) -> list[Path]:
    return sorted(pattern.parent.glob(pattern.name))


def _read(path: Path) -> Sheet:
    """Raises BadFile."""
    try:
        if path.stat().st_size > LARGEST:
            raise BadFile(path, f"is larger than {LARGEST >> 20} MiB. Keep your styles in smaller files.")
        content = path.read_bytes()
    except OSError as error:
        raise BadFile(path, f"cannot be read: {error}.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(path, "is not in UTF-8. Open it in a text editor and save it as UTF-8.") from error
    return parse_sheet(path, text)


def parse_sheet(path: Path, text: str) -> Sheet:
    """The rows of a file's text. Raises BadFile where they cannot be styles."""
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        columns = tuple(reader.fieldnames or ())
        rows = [{column: row.get(column) or "" for column in columns} for row in reader]
    except csv.Error as error:
        raise BadFile(path, f"is no table of styles: {error}. Correct it, or take another file.") from error
    if not columns:
        return Sheet(path, COLUMNS, ())
    if "name" not in columns or not {"prompt", "text"} & set(columns):
        shown = ", ".join(columns)[:80]
        raise BadFile(path, f'begins with "{shown}", not with the columns name, prompt, negative_prompt.')
    return Sheet(path, _modern(columns), tuple(map(_modernised, rows)))


def _modern(columns: Sequence[str]) -> tuple[str, ...]:
    return (*COLUMNS, *(column for column in dict.fromkeys(columns) if column not in (*COLUMNS, "text")))


def _modernised(row: dict[str, str]) -> dict[str, str]:
    """The row with the columns of today: once there was one text alone."""
    text = row.pop("text", "")
    return {**row, "prompt": row.get("prompt", text), "negative_prompt": row.get("negative_prompt", "")}


def _write(sheet: Sheet) -> None:
    """Replace the file at once, its old content beside it as `.bak`. Raises BadFile."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, sheet.columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(sheet.rows)
    target = sheet.path.resolve()
    fresh = target.with_name(f"{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.copy2(target, target.with_name(f"{target.name}.bak"))
        fresh.write_bytes(text.getvalue().encode("utf-8-sig"))
        os.replace(fresh, target)
    except OSError as error:
        raise BadFile(sheet.path, f"cannot be written: {error}.") from error
