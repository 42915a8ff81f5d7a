"""The story of a job: from a plan to pictures, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from modules.images import decode_picture
from modules.sampling import SoftBlend

from .bench import Bench
from .canvas import Canvas, Finished, describe_start, finish, read_canvas
from .courses import draw_noise
from .encoding import Encode, SeededEncoder
from .infotext import Made, describe_picture
from .mosaic import Mosaic, describe_tiles, read_start, tile_batches
from .origins import Enlarging, Origin, from_canvases, from_noise
from .pictures import to_image, to_pixels
from .plans import Batch, Hires, Plan, Start, Tiles, Variation
from .ports import Control, FinishedPicture, Reporter, Resources
from .softening import softened
from .walking import Job, Walker


def generate(plan: Plan, resources: Resources, control: Control, report: Reporter) -> None:
    """Make the pictures of `plan` and report each as it is finished; afterwards the models are as they were.

    A batch that is interrupted or skipped is finished with what the model saw last; interrupted, the job ends there.
    Networks that fail are reported and left out. Raises TagbrushError where a picture cannot be made.
    """
    job = Job(plan, control, report, made=plan.images - sum(len(batch.indices) for batch in plan.batches))
    for notice in plan.notices:
        job.tell(notice)
    with torch.inference_mode():
        for number, batch in enumerate(plan.batches):
            control.skipped = False
            with Bench(plan, resources, job.tell) as bench:
                if plan.tiles is None:
                    _make(job, number, batch, bench, resources)
                else:
                    _make_in_tiles(job, number, batch, bench, resources, plan.tiles)
            if control.interrupted:
                break


def _make(job: Job, number: int, batch: Batch, bench: Bench, resources: Resources) -> None:
    """Make a batch's pictures, and report each."""
    plan = job.plan
    stages = () if plan.firstpass_image else (plan.first,)
    stages += (plan.hires.stage,) if plan.hires else ()
    _Making(job, batch, bench, Walker(job, number, bench, stages), resources, SeededEncoder(batch.seeds)).run()


def _make_in_tiles(job: Job, number: int, batch: Batch, bench: Bench, resources: Resources, tiles: Tiles) -> None:
    """Make a batch's one picture out of tiles, each drawn as a picture of its own, and report it.

    Stopped, the tiles that are left stay as they were enlarged.
    """
    plan, start = job.plan, job.plan.start
    assert start is not None
    mosaic = Mosaic.of(read_start(batch, start, resources.read_input), tiles, plan.first)
    parts = tile_batches(batch, tiles, len(mosaic.grid))
    walker = Walker(job, number, bench, (plan.first,) * len(parts))
    for part in parts:
        making = _Making(job, part, bench, walker, resources, SeededEncoder(part.seeds))
        making.canvases = mosaic.canvases(part, start)
        walker.draw = partial(mosaic.preview, part)
        latents = making.first()
        if latents is not None:
            mosaic.take(
                part, [making.drawn(latent, position).image for position, latent in enumerate(latents.split(1))]
            )
        if job.is_stopped:
            break
    if mosaic.is_begun:
        whole = _Making(job, batch, bench, walker, resources, SeededEncoder(batch.seeds))
        whole.report(Finished(mosaic.picture()), 0, describe_tiles(tiles, start))


@dataclass
class _Making:
    """One batch, from its prompts to its pictures."""

    job: Job
    batch: Batch
    bench: Bench
    walker: Walker
    resources: Resources
    encode: Encode
    canvases: tuple[Canvas, ...] = ()
    """With img2img, the pictures that it starts from; read from the batch's inputs if they are not given."""

    def run(self) -> None:
        """One stage after the other, then the pictures; stopped before the second, they are those of the first."""
        plan = self.job.plan
        latents = None if plan.firstpass_image else self.first()
        if plan.hires and not self.job.is_stopped:
            latents = self.second(plan.hires, latents)
        if latents is not None:
            self.finish(latents)

    def first(self) -> torch.Tensor | None:
        """The only stage, or the first of two: (B, 4, h, w), None where it was stopped before its first step."""
        plan, stage, wording = self.job.plan, self.job.plan.first, self.batch.first
        self.bench.mount(stage.checkpoint, stage.vae, stage, wording)
        conditionings = self.bench.read(wording, stage)
        noise = draw_noise(plan, self.batch, stage, self.bench.model)
        origin = self.origin(noise.first())
        latents = self.walker.walk(stage, wording, conditionings, noise, origin)
        if latents is not None and isinstance(origin.blend, SoftBlend) and plan.start is not None:
            self.canvases = softened(self.canvases, origin.blend, latents, plan.start)
        return latents

    def second(self, hires: Hires, latents: torch.Tensor | None) -> torch.Tensor | None:
        """The same steps again from the enlarged pictures: those of the first stage, or one in their place."""
        plan, bench, stage, wording = self.job.plan, self.bench, hires.stage, self.batch.hires
        assert wording is not None
        enlarging = Enlarging.of(hires, bench, latents, self.firstpass_pixels())
        conditionings = None
        if hires.with_first_networks and plan.first.checkpoint == stage.checkpoint:
            bench.mount(stage.checkpoint, stage.vae, stage, self.batch.first)
            conditionings = bench.read(wording, stage)
        bench.mount(stage.checkpoint, stage.vae, stage, wording)
        conditionings = conditionings or bench.read(wording, stage)
        noise = draw_noise(plan, self.batch, stage, bench.model)
        origin = enlarging.origin(plan, bench, noise.first(), self.encode)
        end = self.walker.walk(stage, wording, conditionings, noise, origin)
        return latents if end is None else end

    def origin(self, noise: torch.Tensor) -> Origin:
        """What the first stage starts from."""
        plan = self.job.plan
        if plan.start is None:
            return from_noise(self.bench, noise, self.encode)
        self.canvases = self.canvases or self.read_canvases(plan.start)
        unvaried = draw_noise(replace(plan, variation=Variation()), self.batch, plan.first, self.bench.model)
        return from_canvases(plan, self.bench, self.canvases, noise, unvaried.first)

    def read_canvases(self, start: Start) -> tuple[Canvas, ...]:
        """The pictures to start from, one for each of the batch; each is read once."""
        read, stage = self.resources.read_input, self.job.plan.first
        mask = read(start.inpaint.mask) if start.inpaint else None
        names = [name for name in self.batch.inits if name is not None]
        canvases = {
            name: read_canvas(read(name), mask, start, stage.width, stage.height, self.job.tell)
            for name in dict.fromkeys(names)
        }
        return tuple(canvases[name] for name in names)

    def firstpass_pixels(self) -> torch.Tensor | None:
        """(1, 3, H, W): the picture in place of the first stage's."""
        name = self.job.plan.firstpass_image
        return to_pixels(decode_picture(self.resources.read_input(name))) if name else None

    def finish(self, latents: torch.Tensor) -> None:
        """Decode the pictures, and report each with its text."""
        start = self.job.plan.start
        for position, latent in enumerate(latents.split(1)):
            said = describe_start(start, self.canvases[position]) if start else {}
            self.report(self.drawn(latent, position), position, said)

    def drawn(self, latent: torch.Tensor, position: int) -> Finished:
        """The picture of (1, 4, h, w) latents in its final colours and place."""
        image, start = to_image(self.bench.decode(latent)[0]), self.job.plan.start
        return Finished(image) if start is None else finish(image, self.canvases[position], start.inpaint)

    def report(self, finished: Finished, position: int, said: Mapping[str, str]) -> None:
        """Report a picture with its text, in which `said` is what is to be said of its start."""
        picture = FinishedPicture(
            index=self.batch.indices[position],
            image=finished.image,
            seed=self.batch.seeds[position],
            infotext=self.infotext(position, said),
            is_complete=self.walker.is_whole,
            subseed=self.batch.subseeds[position],
        )
        self.job.made += 1
        self.job.report.picture(picture)
        for number, (kind, image) in enumerate(finished.beside):
            index = self.job.plan.images + len(finished.beside) * picture.index + number
            self.job.report.picture(replace(picture, index=index, image=image, kind=kind))

    def infotext(self, position: int, said: Mapping[str, str]) -> str:
        used, variant = self.bench.used, self.bench.model.variant
        made = Made(used.networks.values(), used.hashes, frozenset(self.walker.effective), variant, said)
        return describe_picture(self.job.plan, self.batch, position, made)
