"""Prompt editing: `[from:to:when]` and alternation `[a|b]`, expanded to the texts of a run (P030-P038).

Read by hand in one pass rather than by a grammar tool: the language is ambiguous (any bracket may also be a plain
character), which asks for a parser of more than linear time, and every string has to be legal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

# Groups inside this many others are plain text; it keeps the recursion over a parsed prompt shallow.
MAX_DEPTH = 100

# Characters of all the texts of a schedule together. What people write needs some thousands; a prompt of a million
# characters that changes ten thousand times would fill the memory.
MAX_EXPANDED = 20_000_000

_TOKEN = re.compile(r"\\.|[^\\\[\]():|]+|[\[\]():|]|(?P<broken>\\)")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_CLOSES = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The text that holds while the count of denoiser calls, from 0, is at most `until` (P032)."""

    until: int
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the numbers in a prompt count: the steps of one pass.

    `steps` is the number of denoiser calls, so twice the steps asked for with a second-order sampler (P033). In the
    hires pass whole numbers go on from the first pass's `steps`, and fractions 1 to 2 are its share (P038). `old` is
    the rule before A1111 1.6: below 1 a fraction, else a step, whether or not there is a dot.
    """

    steps: int
    hires_steps: int | None = None
    old: bool = False

    @property
    def length(self) -> int:
        return self.steps if self.hires_steps is None or self.old else self.hires_steps

    def resolve(self, number: str) -> int:
        """The step that `number` names: at most `length`; below 1 means from the start (P031)."""
        value = float(number)
        if self.old:
            step = value * self.length if value < 1 else value
        elif "." in number:
            step = (value if self.hires_steps is None else value - 1) * self.length
        else:
            step = value if self.hires_steps is None else value - self.steps
        if step <= 0:
            return 0
        return int(step) if step < self.length else self.length


@dataclass(frozen=True, slots=True)
class _Switch:
    before: tuple[_Item, ...]
    after: tuple[_Item, ...]
    when: int


@dataclass(frozen=True, slots=True)
class _Cycle:
    options: tuple[tuple[_Item, ...], ...]


_Item: TypeAlias = "str | _Switch | _Cycle"


def schedule(text: str, steps: int, *, hires_steps: int | None = None, old: bool = False) -> tuple[Scheduled, ...]:
    """The texts of one pass in order, at least one; the last is until its end. See `Timeline` for the arguments.

    A bracket that fits no rule is plain text. A `|` outside alternation, or a backslash at the end of a line, makes
    the whole prompt plain text, as in A1111 (P037), and so do more texts than MAX_EXPANDED allows. Equal neighbours
    stay apart: emphasis averages over all of them.
    """
    timeline = Timeline(steps, hires_steps, old)
    items = _parse(text, timeline)
    if items is None:
        return (Scheduled(timeline.length, text),)
    ends = _ends(items, timeline.length)
    if len(ends) * len(text) > MAX_EXPANDED and len(ends) > 1:
        return (Scheduled(timeline.length, text),)
    same: dict[str, str] = {}
    found = []
    for until in ends:
        now = _text(items, until)
        found.append(Scheduled(until, same.setdefault(now, now)))
    return tuple(found)


def active(entries: Sequence[Scheduled], call: int) -> int:
    """The index of the entry that holds at denoiser call `call`, counted from 0; the last one from its end on."""
    return next((index for index, entry in enumerate(entries) if call <= entry.until), len(entries) - 1)


def _ends(items: tuple[_Item, ...], length: int) -> Sequence[int]:
    """The steps after which the text may differ, in order; `length` is always the last."""
    groups = list(_groups(items))
    if any(isinstance(group, _Cycle) for group in groups):
        return range(min(length, 1), length + 1)
    switches = {group.when for group in groups if isinstance(group, _Switch) and group.when >= 1}
    return sorted(switches | {length})


def _groups(items: tuple[_Item, ...]) -> Iterator[_Switch | _Cycle]:
    for item in items:
        if isinstance(item, str):
            continue
        yield item
        for part in item.options if isinstance(item, _Cycle) else (item.before, item.after):
            yield from _groups(part)


def _text(items: tuple[_Item, ...], step: int) -> str:
    return "".join([item if isinstance(item, str) else _text(_chosen(item, step), step) for item in items])


def _chosen(group: _Switch | _Cycle, step: int) -> tuple[_Item, ...]:
    if isinstance(group, _Switch):
        return group.before if step <= group.when else group.after
    return group.options[(step - 1) % len(group.options)]


@dataclass(slots=True)
class _Frame:
    """A bracket that is open: what is in it so far, cut at each `:` and `|`."""

    opener: str = ""
    cells: list[list[_Item]] = field(default_factory=lambda: [[]])
    cuts: list[str] = field(default_factory=list)

    def cut(self, separator: str) -> None:
        self.cuts.append(separator)
        self.cells.append([])

    def spelled(self) -> list[_Item]:
        """The frame as plain text again, save for the groups inside."""
        items: list[_Item] = [self.opener, *self.cells[0]]
        for separator, cell in zip(self.cuts, self.cells[1:], strict=True):
            items += [separator, *cell]
        return items

    def closed(self, timeline: Timeline) -> list[_Item] | None:
        """The frame as a group of the language, or None where no rule fits."""
        kinds = set(self.cuts)
        if self.opener == "(":
            return [*self.spelled(), ")"] if self.cuts in ([], [":"]) else None
        if not kinds:
            return [*self.spelled(), "]"]
        if kinds == {"|"}:
            return [_Cycle(tuple(_compact(cell) for cell in self.cells))]
        return self._switch(timeline) if self.cuts in ([":"], [":", ":"]) else None

    def _switch(self, timeline: Timeline) -> list[_Item] | None:
        *texts, last = (_compact(cell) for cell in self.cells)
        number = _NUMBER.fullmatch(last[0]) if len(last) == 1 and isinstance(last[0], str) else None
        if number is None:
            return None
        return [_Switch(texts[0] if len(texts) == 2 else (), texts[-1], timeline.resolve(number[1]))]


class _Unschedulable(Exception):
    """The prompt as a whole is plain text."""


def _parse(text: str, timeline: Timeline) -> tuple[_Item, ...] | None:
    """The prompt as text and groups, or None where all of it is plain text."""
    reader = _Reader(timeline)
    try:
        for token in _TOKEN.finditer(text):
            reader.read(token[0], broken=token["broken"] is not None)
        reader.dissolve()
    except _Unschedulable:
        return None
    return _compact(reader.items)


class _Reader:
    """Matches brackets. A stray character belongs to no group, so it turns every bracket open around it to text."""

    def __init__(self, timeline: Timeline) -> None:
        self.items: list[_Item] = []
        self._timeline = timeline
        self._open: list[_Frame] = []

    def read(self, token: str, *, broken: bool) -> None:
        if broken:
            raise _Unschedulable
        if token in "([" and len(self._open) < MAX_DEPTH:
            self._open.append(_Frame(token))
        elif token in _CLOSES:
            self._close(token)
        elif token in ":|" and self._open:
            self._open[-1].cut(token)
        elif token in "([:|":
            self._stray(token)
        else:
            self._here().append(token)

    def dissolve(self) -> None:
        """Turn every open bracket to plain text."""
        for frame in self._open:
            if "|" in frame.cuts:
                raise _Unschedulable
            self.items += frame.spelled()
        self._open.clear()

    def _here(self) -> list[_Item]:
        return self._open[-1].cells[-1] if self._open else self.items

    def _close(self, closer: str) -> None:
        if not self._open or self._open[-1].opener != _CLOSES[closer]:
            self._stray(closer)
            return
        group = self._open[-1].closed(self._timeline)
        if group is None:
            self._stray(closer)
            return
        self._open.pop()
        self._here().extend(group)

    def _stray(self, token: str) -> None:
        if token == "|":
            raise _Unschedulable
        self.dissolve()
        self.items.append(token)


def _compact(items: Sequence[_Item]) -> tuple[_Item, ...]:
    """The same items with runs of text joined."""
    runs = groupby(items, key=lambda item: isinstance(item, str))
    return tuple(item for is_text, run in runs for item in (["".join(run)] if is_text else run))
