"""The story of a job: from a plan to pictures, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import torch

from modules.catalogue import Entry
from modules.conditioning import Conditioning, Vectors, encode
from modules.images import decode_picture, resize_image
from modules.models import Model, Pass, decode
from modules.models import encode as encode_pixels
from modules.prompt import ParsedPrompt
from modules.sampling import Context, Course, Guidance, ImageNoise, Predict, Prompted, Step, plot_course

from .applied import apply_networks, load_networks, load_words
from .infotext import Hashes, describe_picture
from .pictures import preview_image, to_image, to_pixels
from .plans import Batch, Plan
from .ports import Control, FinishedPicture, Reporter, Resources

GRID = 8  # pixels of one latent


def generate(plan: Plan, resources: Resources, control: Control, report: Reporter) -> None:
    """Make the pictures of `plan` and report each as it is finished; afterwards the model is as it was.

    A batch that is interrupted or skipped is finished with what the model saw last; interrupted, the job ends there.
    Networks that fail are reported and left out. Raises TagbrushError where a picture cannot be made.
    """
    made = plan.images - sum(len(batch.indices) for batch in plan.batches)
    job = _Job(plan, resources, control, report, made=made)
    for notice in plan.notices:
        job.tell(notice)
    model = resources.acquire(plan.checkpoint, plan.vae)
    course = _course(plan, model)
    with torch.inference_mode():
        for number, batch in enumerate(plan.batches):
            control.skipped = False
            job.make(number, batch, model, course)
            if control.interrupted:
                break


def _course(plan: Plan, model: Model) -> Course:
    return plot_course(
        plan.sampler,
        plan.schedule,
        plan.steps,
        model.alphas_cumprod,
        prediction=model.prediction_type,
        strength=plan.start.strength if plan.start else None,
        exactly=plan.start is not None and plan.start.exactly,
    )


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

    def make(self, number: int, batch: Batch, model: Model, course: Course) -> None:
        """One batch, from its networks to its pictures."""
        cache = self.resources.networks
        applied = load_networks(batch.networks, model, cache, self.tell)
        with ExitStack() as stack:
            live = apply_networks(stack, model, applied, self.tell)
            words = load_words(batch.embeddings, applied, model, cache, self.tell)
            used = [(network.use.name, network.use.entry) for network in applied]
            used += [(entry.name, entry) for entry in words.entries]
            hashes = self.hashes(entry for _, entry in used)

            conds = self.encode(model, batch.prompts, words.prompt)
            with live.on(Pass.UNCOND):
                unconds = self.encode(model, batch.negatives, words.negative)
            apart = (lambda: live.on(Pass.UNCOND)) if live.splits_guidance else None
            prompted = Prompted(_predictor(model), conds, unconds, apart=apart)
            guidance = Guidance(prompted, self.plan.cfg_scale)

            noise = self.noise(batch, model)
            x = course.start(noise.first(), self.init_latents(batch, model))  # (B, 4, H/8, W/8)
            end = self.watch(number, model, course.steps, course.walk(guidance, x, noise), x)
        if end is None:
            return
        for position, latent in enumerate(end.x.split(1)):
            picture = FinishedPicture(
                index=batch.indices[position],
                image=to_image(decode(model, latent)[0]),
                seed=batch.seeds[position],
                infotext=describe_picture(self.plan, batch, position, used, hashes),
                is_complete=end.index == course.steps,
            )
            self.made += 1
            self.report.picture(picture)

    def watch(self, number: int, model: Model, steps: int, walk: Iterator[Step], x: torch.Tensor) -> Step | None:
        """Where the walk from x ended, `index` steps on: at its end, or where the person stopped it.

        Stopped, x is what the model saw last; None where it saw nothing yet.
        """
        self.progress(number, 0, steps)
        if self.is_stopped:
            return None
        end = Step(steps, x, x)
        for step in walk:
            done = step.index + 1
            self.progress(number, done, steps)
            if done == steps:
                return step._replace(index=steps)
            if self.is_stopped:
                return Step(done, step.denoised, step.denoised)
            if self.plan.preview_every and done % self.plan.preview_every == 0:
                self.report.preview(partial(preview_image, model, step.denoised))
        return end

    @property
    def is_stopped(self) -> bool:
        return self.control.interrupted or self.control.skipped

    def tell(self, text: str) -> None:
        """Report a notice, once."""
        if text not in self.told:
            self.told.add(text)
            self.report.notice(text)

    def progress(self, number: int, step: int, steps: int) -> None:
        self.report.progress(number, len(self.plan.batches), step, steps, self.made, self.plan.images)

    def encode(
        self, model: Model, prompts: tuple[ParsedPrompt, ...], words: Mapping[str, Vectors]
    ) -> tuple[Conditioning, ...]:
        return encode(
            model,
            prompts,
            tokenizer=self.resources.tokenizer,
            embeddings=words,
            clip_skip=self.plan.clip_skip,
            emphasis=self.plan.emphasis,
            backtrack=self.plan.backtrack,
        )

    def noise(self, batch: Batch, model: Model) -> ImageNoise:
        shape = (model.vae.config.latent_channels, self.plan.height // GRID, self.plan.width // GRID)
        delta = self.plan.eta_noise_seed_delta
        return ImageNoise(batch.seeds, shape, self.plan.randn_source, device=model.device, eta_delta=delta)

    def init_latents(self, batch: Batch, model: Model) -> torch.Tensor | None:
        """(B, 4, H/8, W/8): the pictures to start from, each encoded once; None where there are none."""
        start = self.plan.start
        if start is None:
            return None
        latents = {}
        for name in dict.fromkeys(batch.inits):
            picture = decode_picture(self.resources.read_input(name), start.background)
            fitted = resize_image(picture, self.plan.width, self.plan.height, start.resize_mode)
            latents[name] = encode_pixels(model, to_pixels(fitted))
        return torch.cat([latents[name] for name in batch.inits])

    def hashes(self, entries: Iterable[Entry]) -> Hashes:
        """The hashes that infotexts show, on their way while the picture is made."""
        checkpoint, vae = self.plan.checkpoint, self.plan.vae
        wanted = [checkpoint, *([vae] if vae else []), *entries]
        return {entry.path: self.resources.shorthash(entry) for entry in wanted}


def _predictor(model: Model) -> Predict:
    """The UNet as guidance asks it: float32 in and out, its own number type inside."""

    def predict(x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
        timesteps = torch.full((len(x),), timestep, device=x.device)  # filled on the device: nothing waits for it
        (output,) = model.unet(x.to(model.dtype), timesteps, encoder_hidden_states=context.tokens, return_dict=False)
        return output.float()

    return predict
