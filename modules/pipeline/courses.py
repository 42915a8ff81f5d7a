"""The course of a stage, and the noise that it walks through."""

from __future__ import annotations

import torch

from modules.models import Model, downcast, zero_terminal_snr
from modules.params import LATENT_PIXELS
from modules.sampling import Course, ImageNoise, plot_course

from .plans import Batch, Plan, Stage


def plot(plan: Plan, stage: Stage, model: Model) -> Course:
    """The course of a stage for this model."""
    return plot_course(
        stage.sampler,
        stage.schedule,
        stage.steps,
        noise_schedule(plan, model),
        prediction=model.prediction_type,
        strength=stage.strength,
        exactly=stage.exactly,
        options=stage.options,
        is_sdxl=model.family.startswith("sdxl"),
    )


def noise_schedule(plan: Plan, model: Model) -> torch.Tensor:
    """(1000,): the model's own, changed as the plan says."""
    alphas = downcast(model.alphas_cumprod) if plan.downcast_alphas else model.alphas_cumprod
    return zero_terminal_snr(alphas) if plan.noise_schedule == "Zero Terminal SNR" else alphas


def draw_noise(plan: Plan, batch: Batch, stage: Stage, model: Model) -> ImageNoise:
    """The noise of a stage, of each picture's own seed; the same seeds in every stage."""
    shape = (model.vae.config.latent_channels, stage.height // LATENT_PIXELS, stage.width // LATENT_PIXELS)
    return ImageNoise(
        batch.seeds,
        shape,
        plan.randn_source,
        device=model.device,
        eta_delta=plan.eta_noise_seed_delta,
        subseeds=batch.subseeds,
        subseed_strength=plan.variation.strength,
        seed_resize_from=plan.variation.resize_from,
    )
