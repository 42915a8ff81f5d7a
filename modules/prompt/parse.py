"""The prompt language as one step: text as the user wrote it -> what each part says at each step (P001)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .comments import strip_comments
from .composition import Part, split_and
from .schedule import Scheduled, schedule
from .tags import NetworkTag, Tag, append_tags, extract_tags


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """A prompt that was read: its text without comments, its parts as (weight, texts over the steps), and its tags."""

    text: str
    parts: tuple[tuple[float, tuple[Scheduled, ...]], ...]
    tags: tuple[Tag, ...] = ()

    def texts(self) -> Iterator[str]:
        """Every text that is encoded, each once, in order."""
        return iter(dict.fromkeys(entry.text for _, entries in self.parts for entry in entries))


def parse_prompt(
    text: str,
    *,
    steps: int,
    negative: bool = False,
    hires_steps: int | None = None,
    old_schedules: bool = False,
    always: Sequence[NetworkTag] = (),
    comments: bool = True,
) -> ParsedPrompt:
    """Read a prompt whose styles are merged already. Every string is legal; a negative prompt is never split on AND.

    Networks that are `always` there are appended as tags, unless the prompt names them itself (P061). Without
    `comments` a `#` is an ordinary character (P073).

    `steps` are denoiser calls: twice the steps with a second-order sampler (P033). For the hires pass give its steps
    as `hires_steps` and the first pass's as `steps`.
    """
    text = append_tags(strip_comments(text) if comments else text, always)
    plain, tags = extract_tags(text)
    parts = (Part(plain, 1.0),) if negative else split_and(plain)
    read = tuple(
        (part.weight, schedule(part.text, steps, hires_steps=hires_steps, old=old_schedules)) for part in parts
    )
    return ParsedPrompt(text, read, tags)
