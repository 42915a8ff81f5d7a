"""Answers as the documentation shows them, made of the very values that the routes answer with."""

from __future__ import annotations

from typing import Any

from modules.jobs import Event, Job, JobState, Picture, Progress, WorkerStatus
from modules.params import Settings, Txt2ImgRequest

JOB_ID = "5f0c2d6a1b7e4c3f9a8d0e6b4c2a7f19"
INPUT_ID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

INFOTEXT = (
    "a red apple on a blue background\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 128x128, "
    "Model: tagbrush-mini, RNG: NV, Version: Tagbrush 0.1"
)
PICTURE = Picture(job_id=JOB_ID, index=0, path="", seed=1, infotext=INFOTEXT, width=128, height=128)  # type: ignore[arg-type]
WAITING = Job(
    id=JOB_ID,
    task="txt2img",
    state=JobState.QUEUED,
    position=1,
    created=1_760_000_000.0,
    request=Txt2ImgRequest(prompt="a red apple on a blue background", seed=1, subseed=2_874_104_391),
    settings=Settings(),
)
PROGRESS = Progress(job_id=JOB_ID, batch=0, batches=1, step=8, steps=20, progress=0.4, eta=1.9)
RUNNING = WAITING.model_copy(
    update={"state": JobState.RUNNING, "position": None, "attempts": 1, "started": 1_760_000_000.1}
    | {"progress": PROGRESS}
)
DONE = RUNNING.model_copy(
    update={"state": JobState.DONE, "finished": 1_760_000_003.4, "progress": None, "pictures": (PICTURE,)}
)
WORKER = WorkerStatus(state="busy", device="NVIDIA H100 (cuda)", job_id=JOB_ID)
_WORKER = WORKER.model_dump(mode="json")

SAID = (
    Event("snapshot", {"worker": _WORKER, "workers": [_WORKER], "jobs": [], "queue": []}, 41),
    Event("job", {"id": JOB_ID, "task": "txt2img", "state": "running", "...": "the whole job"}, 43),
    Event("progress", PROGRESS.model_dump(mode="json")),
    Event("preview", {"job_id": JOB_ID, "image": "data:image/jpeg;base64,..."}),
    Event("picture", {"job_id": JOB_ID, **PICTURE.model_dump(mode="json")}, 44),
    Event("job", {"id": JOB_ID, "task": "txt2img", "state": "done", "...": "the whole job"}, 45),
)


def shown(example: Any, description: str = "Successful Response") -> dict[str, Any]:
    """What OpenAPI says of an answer in JSON: an example of it."""
    return {"description": description, "content": {"application/json": {"example": example}}}


def empty(description: str) -> dict[str, Any]:
    """The same of an answer without a body."""
    return {"description": description}
