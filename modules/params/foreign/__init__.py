"""What pictures of other programs say of themselves, in the words of A1111's texts.

A module per program; each takes the texts inside a picture by their names and gives an `Infotext`, or None where they
are not its own. Everything comes from outside: sizes are bounded, and no shape of it may do more than be passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..infotext import Infotext, parse_infotext
from . import comfyui, fooocus, invokeai, novelai, swarmui

Items = Mapping[str, str]
Size = tuple[int, int]
UNKNOWN: Size = (0, 0)

PROGRAMS: Mapping[str, Callable[[Items, Size], Infotext | None]] = {
    "SwarmUI": swarmui.read,
    "Fooocus": fooocus.read,
    "NovelAI": novelai.read,
    "InvokeAI": invokeai.read,
    "ComfyUI": comfyui.read,
}
"""By the name of the program, the surest signs first."""


def read_text(text: str) -> tuple[str, Infotext]:
    """The program that wrote a text ("" for A1111 and its kin), and what it says; graphs of ComfyUI's count too."""
    if text.lstrip().startswith("{"):
        found = read_foreign({"prompt": text, "workflow": text, "parameters": text, "invokeai_metadata": text}, UNKNOWN)
        if found is not None:
            return found
    return "", parse_infotext(text)


def read_foreign(items: Items, size: Size) -> tuple[str, Infotext] | None:
    """The program that wrote the texts of a picture of `size` pixels, and what it says; None for an unknown one."""
    for program, read in PROGRAMS.items():
        info = read(items, size)
        if info is not None:
            return program, info
    return None
