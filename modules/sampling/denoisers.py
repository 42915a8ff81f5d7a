"""The views of a model that samplers walk by: x0 behind noise of some strength, or the noise at a timestep.

A view turns `Predict` into a `Seen`; guidance then mixes what is seen, as A1111 does. Scalars are tensors of float32 as
A1111's are, whose square root is torch's, in places not the nearest number: a consistency model under strong guidance
amplifies the last bit 30,000 times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from .context import Context, Predict
from .levels import NoiseLevels

Prediction = Literal["epsilon", "v"]
Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""`(x, sigma) -> x0`: the picture that the guided model sees behind noise of that strength."""
PredictNoise = Callable[[torch.Tensor, float], torch.Tensor]
"""`(x, timestep) -> eps`: the noise that the guided model sees in x."""
Seen = Callable[[torch.Tensor, float, Context], torch.Tensor]
"""`(x (N, C, H, W), sigma or timestep, context of N) -> x0 or eps of each row`, without guidance."""
View = Callable[[Predict], Seen]

LCM_SIGMA_DATA = 0.5
LCM_TIMESTEP_SCALE = 10.0


class Denoiser(Protocol):
    """A guided model under a view: a `Denoise` or a `PredictNoise`."""

    def __call__(self, x: torch.Tensor, at: float) -> torch.Tensor:
        """x0 or eps (B, C, H, W) at a sigma or timestep, with guidance in it."""

    def both(self, x: torch.Tensor, at: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The same, and what the negative prompt alone makes of x."""


@dataclass(frozen=True)
class Perspective:
    """How a sampler looks at the model over a whole run."""

    view: View
    calls: int
    """How many calls the run counts as; what happens at a share of the run is timed by it."""
    elapsed: Callable[[float], float]
    """The share of the model's timesteps, from the noisiest, that lie behind a sigma or timestep."""
    blends_first: bool = False
    """Whether the original of an inpainted picture goes into x before the model sees it, not into x0 afterwards."""
    scale: float = 1.0
    """Multiplies the strength of guidance."""


class Guided(Protocol):
    """A model with its prompts, as a course asks for it."""

    def through(self, perspective: Perspective) -> Denoiser:
        """The guided model as a sampler sees it."""


def sigma_view(levels: NoiseLevels, prediction: Prediction) -> View:
    """x0 at any sigma (Karras et al. 2022, arXiv:2206.00364, table 1; v: Salimans and Ho 2022, arXiv:2202.00512)."""

    def view(predict: Predict) -> Seen:
        def denoise(x: torch.Tensor, sigma: float, context: Context) -> torch.Tensor:
            single = torch.as_tensor(sigma, dtype=torch.float32)
            total = single**2 + 1
            root = total**0.5
            output = predict(x * (1 / root), levels.timestep(single), context)
            if prediction == "v":
                return output * (-single / root) + x * (1 / total)
            return x - output * single

        return denoise

    return view


def consistency_view(levels: NoiseLevels) -> View:
    """x0 as a latent consistency model gives it: blended with x near the end (Luo et al. 2023, arXiv:2310.04378).

    As in A1111, whatever the model was trained to predict counts as noise.
    """

    def view(predict: Predict) -> Seen:
        plain = sigma_view(levels, "epsilon")(predict)

        def denoise(x: torch.Tensor, sigma: float, context: Context) -> torch.Tensor:
            time = torch.tensor(levels.timestep(sigma) * LCM_TIMESTEP_SCALE)
            total = time**2 + LCM_SIGMA_DATA**2
            return plain(x, sigma, context) * (time / total**0.5) + x * (LCM_SIGMA_DATA**2 / total)

        return denoise

    return view


def timestep_view(alphas_cumprod: torch.Tensor, prediction: Prediction) -> View:
    """The noise at timesteps, x in the model's own range (Ho et al. 2020, arXiv:2006.11239).

    Between two whole timesteps the noise level is that of the lower, as in A1111.
    """
    signal, noise = alphas_cumprod.sqrt().tolist(), (1 - alphas_cumprod).sqrt().tolist()

    def view(predict: Predict) -> Seen:
        def predict_noise(x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
            output = predict(x, float(timestep), context)
            if prediction == "v":
                level = int(timestep)
                return output * signal[level] + x * noise[level]
            return output

        return predict_noise

    return view
