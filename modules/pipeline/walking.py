"""The walks of a batch through the steps of its stages, with whoever watches and whoever takes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from PIL import Image

from modules.models import Model
from modules.sampling import Guidance, GuidanceOptions, Handover, ImageNoise, Prompted, Step

from .bench import Bench, Conditionings
from .concat import blank_channels
from .courses import plot
from .infotext import REFINER
from .origins import Origin
from .pictures import preview_image
from .plans import Plan, Stage, Wording
from .ports import Control, Reporter


@dataclass
class Job:
    """A job under way."""

    plan: Plan
    control: Control
    report: Reporter
    made: int
    """Pictures that are finished."""
    told: set[str] = field(default_factory=set)

    @property
    def is_stopped(self) -> bool:
        return self.control.interrupted or self.control.skipped

    def tell(self, text: str) -> None:
        """Report a notice, once."""
        if text not in self.told:
            self.told.add(text)
            self.report.notice(text)


@dataclass
class Walker:
    """Walks the stages of one batch."""

    job: Job
    number: int
    """Of the batch."""
    bench: Bench
    stages: tuple[Stage, ...]
    """Those to walk, in order."""
    draw: Callable[[Model, torch.Tensor], Image.Image] = preview_image
    """What is shown meanwhile of a model's (B, 4, h, w) latents."""
    steps: int = 0
    """Of all stages together, once the first has begun."""
    done: int = 0
    """Of them, those of the stages that were walked to their end."""
    effective: set[str] = field(default_factory=set)
    """What of the options of guidance, and whether the refiner, has changed the pictures."""

    @property
    def is_whole(self) -> bool:
        """Whether all steps of all stages were walked."""
        return self.done == self.steps

    def walk(
        self, stage: Stage, wording: Wording, given: Conditionings, noise: ImageNoise, origin: Origin
    ) -> torch.Tensor | None:
        """The latents (B, 4, h, w) where the stage ended: at its end, or where the person stopped it.

        None where that was before the model saw anything.
        """
        plan, model = self.job.plan, self.bench.model
        course = plot(plan, stage, model)
        self.steps = self.steps or sum(plot(plan, each, model).steps for each in self.stages)
        guidance = Guidance(
            self.bench.prompted(given, origin.concat),
            plan.cfg_scale,
            _options(plan, model),
            blend=origin.blend,
            handover=self._handover(stage, wording, origin, model.variant, model.prediction_type),
        )
        del model  # so that it can make room for a refiner
        x = course.start(origin.noise, origin.latents, extra_noise=plan.extra_noise)  # (B, 4, h, w)
        x = self._watched(course.steps, course.walk(guidance, x, noise), x)
        self.effective |= guidance.effective
        return x if x is None or origin.blend is None else origin.blend(x)

    def _watched(self, steps: int, walk: Iterator[Step], x: torch.Tensor) -> torch.Tensor | None:
        """Where the walk from x ended; where it was stopped, that is what the model saw last."""
        job = self.job
        self._progress(0)
        if job.is_stopped:
            return None
        for step in walk:
            x = step.x
            done = step.index + 1
            self._progress(done)
            if done == steps:
                continue
            if job.is_stopped:
                return step.denoised
            if job.plan.preview_every and done % job.plan.preview_every == 0:
                job.report.preview(partial(self.draw, self.bench.model, step.denoised))
        self.done += steps
        return x

    def _progress(self, step: int) -> None:
        """Say that `step` steps of this stage are done."""
        job, done = self.job, min(self.done + step, self.steps)
        job.report.progress(self.number, len(job.plan.batches), done, self.steps, job.made, job.plan.images)

    def _handover(
        self, stage: Stage, wording: Wording, origin: Origin, variant: str, prediction: str
    ) -> Handover | None:
        """How the refiner takes over from a model of that variant and prediction; the networks go along (U006)."""
        refiner, bench = stage.refiner, self.bench
        if refiner is None:
            return None

        def take() -> Prompted:
            bench.mount(refiner.checkpoint, refiner.vae, stage, wording)
            self.effective.add(REFINER)
            model = bench.model
            concat = origin.concat if model.variant == variant else blank_channels(model, origin.noise)
            prompted = bench.prompted(bench.read(wording, stage), concat)
            if model.prediction_type == prediction:
                return prompted
            return replace(prompted, view=plot(self.job.plan, stage, model).view)

        return Handover(refiner.switch_at, take, refiner.by_steps)


def _options(plan: Plan, model: Model) -> GuidanceOptions:
    """The plan's, as the model allows, and for an instruct-pix2pix model how closely it keeps to the picture."""
    options = plan.guidance
    if model.spares_memory:
        options = replace(options, batch_cond_uncond=False)
    if plan.start is None or model.variant != "pix2pix":
        return options
    return replace(options, image_cfg_scale=plan.start.image_cfg_scale)
