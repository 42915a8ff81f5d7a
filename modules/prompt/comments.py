"""Comments: from `#` to the end of the line (P073)."""

from __future__ import annotations

import re

_WHOLE_LINE = re.compile(r"(?:^|\n)#[^\n]*(?:\n|$)")
_REST_OF_LINE = re.compile(r"(?<!\S)#[^\n]*(?:\n|$)")


def strip_comments(text: str) -> str:
    """The text without its comments; a line that is all comment goes as a whole.

    Only at the start of a line or after white space does `#` begin a comment: `C#` and `https://x/#y` stay.
    """
    return _REST_OF_LINE.sub("\n", _WHOLE_LINE.sub("\n", text))
