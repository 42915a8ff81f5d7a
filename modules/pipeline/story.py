"""The story of a job: from a plan to pictures, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from PIL import Image

from modules.images import decode_picture
from modules.sampling import Course, Guidance, GuidanceOptions, Handover, ImageNoise, Prompted, Step

from .bench import Bench, Said
from .canvas import Canvas, Finished, describe_start, finish, read_canvas
from .concat import blank_channels
from .courses import draw_noise, plot
from .infotext import REFINER, Made, describe_picture
from .origins import Enlarging, Origin, from_canvases, from_noise
from .pictures import preview_image, to_image, to_pixels
from .plans import Batch, Hires, Plan, Stage, Variation, Wording
from .ports import Control, FinishedPicture, Reporter, Resources


def generate(plan: Plan, resources: Resources, control: Control, report: Reporter) -> None:
    """Make the pictures of `plan` and report each as it is finished; afterwards the models are as they were.

    A batch that is interrupted or skipped is finished with what the model saw last; interrupted, the job ends there.
    Networks that fail are reported and left out. Raises TagbrushError where a picture cannot be made.
    """
    job = _Job(plan, resources, control, report, plan.images - sum(len(batch.indices) for batch in plan.batches))
    for notice in plan.notices:
        job.tell(notice)
    with torch.inference_mode():
        for number, batch in enumerate(plan.batches):
            control.skipped = False
            with Bench(plan, resources, job.tell) as bench:
                _Making(job, number, batch, bench).run()
            if control.interrupted:
                break


@dataclass
class _Job:
    """A job under way."""

    plan: Plan
    resources: Resources
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


@dataclass(frozen=True, eq=False)
class _End:
    """Where a stage ended: (B, 4, h, w) latents, and whether all its steps are in them."""

    latents: torch.Tensor
    is_whole: bool


@dataclass
class _Making:
    """One batch, from its prompts to its pictures."""

    job: _Job
    number: int
    batch: Batch
    bench: Bench
    canvases: tuple[Canvas, ...] = ()
    hires_said: Said | None = None
    """What the second stage is told, where it is to be read with the networks of the first."""
    steps: int = 0
    """Of all stages together."""
    walked: int = 0
    """Of them, those of the stages that are over."""
    effective: set[str] = field(default_factory=set)
    """What of the options of guidance, and whether the refiner, has changed the pictures."""

    @property
    def plan(self) -> Plan:
        return self.job.plan

    def run(self) -> None:
        """One stage after the other, then the pictures; stopped before the second, they are those of the first."""
        hires, picture = self.plan.hires, self.plan.firstpass_image
        end = None if picture else self.first()
        if hires is not None and (picture or end) and not self.job.is_stopped:
            end = self.second(hires, end) or end
        if end is not None:
            self.finish(end)

    def first(self) -> _End | None:
        """The only stage, or the first of two; None where it was stopped before the model saw anything."""
        stage, wording, hires = self.plan.first, self.batch.first, self.plan.hires
        self.bench.mount(stage.checkpoint, stage.vae, stage, wording)
        said = self.bench.read(wording, stage)
        if hires and self.batch.hires and hires.with_first_networks and hires.stage.checkpoint == stage.checkpoint:
            self.hires_said = self.bench.read(self.batch.hires, hires.stage)
        noise = self.noise(stage)
        return self.walk(stage, wording, said, noise, self.origin(noise.first()))

    def second(self, hires: Hires, end: _End | None) -> _End | None:
        """The same steps again from the enlarged pictures, those of the first stage or the one in their place."""
        stage, wording = hires.stage, self.batch.hires
        assert wording is not None
        enlarging = Enlarging.of(hires, self.bench, end.latents if end else None, self.firstpass_pixels())
        self.bench.mount(stage.checkpoint, stage.vae, stage, wording)
        said = self.hires_said or self.bench.read(wording, stage)
        noise = self.noise(stage)
        return self.walk(stage, wording, said, noise, enlarging.origin(self.plan, self.bench, noise.first()))

    def walk(self, stage: Stage, wording: Wording, said: Said, noise: ImageNoise, origin: Origin) -> _End | None:
        """All steps of a stage; None where it was stopped before the model saw anything."""
        course = self.course(stage)
        self.steps = self.steps or self.count(course)
        guidance = Guidance(
            self.bench.prompted(said, origin.concat),
            self.plan.cfg_scale,
            self.guidance_options(),
            blend=origin.blend,
            handover=self.handover(stage, wording, origin),
        )
        x = course.start(origin.noise, origin.latents, extra_noise=self.plan.extra_noise)  # (B, 4, H/8, W/8)
        end = self.watch(course.steps, course.walk(guidance, x, noise), x)
        self.walked += course.steps
        self.effective |= guidance.effective
        if end is None or origin.blend is None:
            return end
        return replace(end, latents=origin.blend(end.latents))

    def watch(self, steps: int, walk: Iterator[Step], x: torch.Tensor) -> _End | None:
        """Where the walk from x ended: at its end, or where the person stopped it with what the model saw last."""
        self.progress(0)
        if self.job.is_stopped:
            return None
        for step in walk:
            done = step.index + 1
            x = step.x
            self.progress(done)
            if done == steps:
                continue
            if self.job.is_stopped:
                return _End(step.denoised, is_whole=False)
            if self.plan.preview_every and done % self.plan.preview_every == 0:
                self.job.report.preview(partial(preview_image, self.bench.model, step.denoised))
        return _End(x, is_whole=True)

    def finish(self, end: _End) -> None:
        """Decode the pictures, and report each with its text."""
        is_complete = end.is_whole and self.walked == self.steps
        for position, latent in enumerate(end.latents.split(1)):
            finished = self.finished(to_image(self.bench.decode(latent)[0]), position)
            picture = FinishedPicture(
                index=self.batch.indices[position],
                image=finished.image,
                seed=self.batch.seeds[position],
                infotext=self.infotext(position),
                is_complete=is_complete,
                subseed=self.batch.subseeds[position],
            )
            self.job.made += 1
            self.job.report.picture(picture)
            for number, (kind, image) in enumerate(finished.beside):
                index = self.plan.images + len(finished.beside) * picture.index + number
                self.job.report.picture(replace(picture, index=index, image=image, kind=kind))

    def finished(self, image: Image.Image, position: int) -> Finished:
        """The picture in its final colours and place."""
        start = self.plan.start
        return Finished(image) if start is None else finish(image, self.canvases[position], start.inpaint)

    def infotext(self, position: int) -> str:
        start = self.plan.start
        fields = describe_start(start, self.canvases[position]) if start else {}
        used = self.bench.used
        made = Made(used.networks.values(), used.hashes, frozenset(self.effective), self.bench.model.variant, fields)
        return describe_picture(self.plan, self.batch, position, made)

    def progress(self, step: int) -> None:
        """Say that `step` steps of this stage are done."""
        plan, job = self.plan, self.job
        done = min(self.walked + step, self.steps)
        job.report.progress(self.number, len(plan.batches), done, self.steps, job.made, plan.images)

    def course(self, stage: Stage) -> Course:
        return plot(self.plan, stage, self.bench.model)

    def count(self, course: Course) -> int:
        """The steps of all stages, of which `course` is the first that is walked."""
        hires = self.plan.hires
        if hires is None or self.plan.firstpass_image:
            return course.steps
        return course.steps + self.course(hires.stage).steps

    def noise(self, stage: Stage) -> ImageNoise:
        return draw_noise(self.plan, self.batch, stage, self.bench.model)

    def origin(self, noise: torch.Tensor) -> Origin:
        """What the first stage starts from."""
        plan, read = self.plan, self.job.resources.read_input
        if plan.start is None:
            return from_noise(self.bench, noise)
        start, size = plan.start, (plan.first.width, plan.first.height)
        mask = read(start.inpaint.mask) if start.inpaint else None
        names = dict.fromkeys(name for name in self.batch.inits if name is not None)
        canvases = {name: read_canvas(read(name), mask, start, *size, self.job.tell) for name in names}
        self.canvases = tuple(canvases[name] for name in self.batch.inits if name is not None)
        unvaried = draw_noise(replace(plan, variation=Variation()), self.batch, plan.first, self.bench.model)
        return from_canvases(plan, self.bench, self.canvases, noise, unvaried.first)

    def firstpass_pixels(self) -> torch.Tensor | None:
        """(1, 3, H, W): the picture in place of the first stage's."""
        name = self.plan.firstpass_image
        return to_pixels(decode_picture(self.job.resources.read_input(name))) if name else None

    def handover(self, stage: Stage, wording: Wording, origin: Origin) -> Handover | None:
        """How the refiner takes over from the model that a stage begins with; the networks go along (U006)."""
        refiner = stage.refiner
        if refiner is None:
            return None
        variant, prediction = self.bench.model.variant, self.bench.model.prediction_type  # not the model, to let it go

        def take() -> Prompted:
            self.bench.mount(refiner.checkpoint, refiner.vae, stage, wording)
            self.effective.add(REFINER)
            model = self.bench.model
            concat = origin.concat if model.variant == variant else blank_channels(model, origin.noise)
            prompted = self.bench.prompted(self.bench.read(wording, stage), concat)
            if model.prediction_type == prediction:
                return prompted
            return replace(prompted, view=self.course(stage).view)

        return Handover(refiner.switch_at, take, refiner.by_steps)

    def guidance_options(self) -> GuidanceOptions:
        """The plan's, and for an instruct-pix2pix model how closely it keeps to the picture."""
        start, options = self.plan.start, self.plan.guidance
        if start is None or self.bench.model.variant != "pix2pix":
            return options
        return replace(options, image_cfg_scale=start.image_cfg_scale)
