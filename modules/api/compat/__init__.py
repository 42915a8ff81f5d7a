"""The wire of A1111's API, with all its quirks, translated to requests and back.

Nothing else in this program knows of them: `sampler_index`, 50 steps by default, pictures as base64 inside JSON,
`info` as a JSON string inside JSON, fields that arrive as null, and some eighty fields of which a client sends all
whether it means them or not.
"""

from .answers import answer, encoded, generation_info
from .options import FIXED, Options, options_shown, read_changes
from .payloads import GenerationAnswer, Img2ImgPayload, Quirks, Txt2ImgPayload
from .progress import (
    ProgressAnswer,
    State,
    TaskAnswer,
    TaskPayload,
    progress,
    task_progress,
)
from .scripts import ScriptInfo, ScriptLists, script_infos, script_lists
from .tasks import TaskNames
from .translate import Translated, picture_bytes, sent_pictures, translate

__all__ = [
    "FIXED",
    "GenerationAnswer",
    "Img2ImgPayload",
    "Options",
    "ProgressAnswer",
    "Quirks",
    "ScriptInfo",
    "ScriptLists",
    "State",
    "TaskAnswer",
    "TaskNames",
    "TaskPayload",
    "Translated",
    "Txt2ImgPayload",
    "answer",
    "encoded",
    "generation_info",
    "options_shown",
    "picture_bytes",
    "progress",
    "read_changes",
    "script_infos",
    "script_lists",
    "sent_pictures",
    "task_progress",
    "translate",
]
