"""Which checkpoints a worker has in memory, as far as the queue can tell."""

from __future__ import annotations

from dataclasses import dataclass, field

from modules.params import Settings, Txt2ImgRequest

from .schema import Job

Model = tuple[str, str]
"""A checkpoint and a VAE, as requests and settings call them."""

_SAME_NAMES = ("", "None", "Use same checkpoint")


@dataclass(slots=True)
class Loaded:
    """The models of the jobs that a worker had last, the latest last.

    Two names may mean one file; then a worker is not known to have what it has, which costs at most a load elsewhere.
    """

    _models: list[Model] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self._models

    def note(self, settings: Settings, job: Job | None = None) -> None:
        """The worker loads what the settings say, and what the job asks for besides; what must make room is gone."""
        for model in models(settings, job):
            self._models = [kept for kept in self._models if kept[0] != model[0]] + [model]
        del self._models[: -max(settings.sd_checkpoints_limit, 1)]

    def clear(self) -> None:
        self._models.clear()

    def fits(self, settings: Settings) -> int:
        """2 where the worker has checkpoint and VAE of these settings, 1 where it has the checkpoint alone, else 0."""
        checkpoint, vae = _first(settings)
        if (checkpoint, vae) in self._models:
            return 2
        return int(any(kept == checkpoint for kept, _ in self._models))


def models(settings: Settings, job: Job | None = None) -> tuple[Model, ...]:
    """What is loaded for a job, in turn."""
    first = _first(settings)
    if job is None:
        return (first,)
    hires = job.request.hr_checkpoint_name if isinstance(job.request, Txt2ImgRequest) and job.request.enable_hr else ""
    others = (hires, job.request.refiner_checkpoint)
    return (first, *((name, settings.sd_vae) for name in others if name and name not in _SAME_NAMES))


def _first(settings: Settings) -> Model:
    return settings.sd_model_checkpoint, settings.sd_vae
