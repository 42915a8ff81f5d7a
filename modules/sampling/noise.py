"""Where noise comes from: one generator per picture, so that a picture of a batch equals the same seed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch

from modules.params import TagbrushError

from .brownian import BrownianPath
from .philox import Philox

Source = Literal["NV", "CPU", "GPU"]
SEEDS = 2**64


class Generator(Protocol):
    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """float32 of `shape`, mean 0 and variance 1; a new one each time."""


class _Philox:
    def __init__(self, seed: int) -> None:
        self._numbers = Philox(seed)

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.from_numpy(self._numbers.normal(shape))


class _Torch:
    def __init__(self, seed: int, device: torch.device) -> None:
        self._numbers = torch.Generator(device).manual_seed(seed % SEEDS)

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(tuple(shape), generator=self._numbers, device=self._numbers.device)


def generator(source: Source, seed: int, device: torch.device) -> Generator:
    """A fresh generator. "NV" gives an NVIDIA GPU's numbers on any machine, "GPU" those of `device` itself."""
    match source:
        case "NV":
            return _Philox(seed)
        case "CPU":
            return _Torch(seed, torch.device("cpu"))
        case "GPU" if device.type == "cuda":
            return _Torch(seed, device)
        case "GPU":
            raise TagbrushError(
                f"Noise from the GPU was asked for, but this machine works on {device.type}. "
                'Set the random number generator source to "NV": it gives the same noise as an NVIDIA GPU.'
            )
    raise TagbrushError(f'The random number generator source "{source}" is unknown. Choose NV, CPU or GPU.')


class ImageNoise:
    """The noise of one batch: (B, C, H, W) float32 on `device`, drawn per picture from its own seed.

    `eta_delta` is added to the seeds for every draw after the first (A1111's eta noise seed delta).
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        source: Source = "NV",
        *,
        device: torch.device | str = "cpu",
        eta_delta: int = 0,
    ) -> None:
        self.seeds, self.shape, self.source = tuple(seeds), tuple(shape), source
        self.device = torch.device(device)
        self._generators = [generator(source, seed, self.device) for seed in self.seeds]
        self._eta_delta = eta_delta

    def first(self) -> torch.Tensor:
        """The initial noise; call it once, before `next`."""
        noise = self.next()
        if self._eta_delta:
            self._generators = [generator(self.source, seed + self._eta_delta, self.device) for seed in self.seeds]
        return noise

    def next(self) -> torch.Tensor:
        """Fresh noise for a step."""
        return torch.stack([each.normal(self.shape) for each in self._generators]).to(self.device)

    def brownian(self, low: float, high: float) -> Callable[[float, float], torch.Tensor]:
        """Noise for a step between two sigmas of [low, high], the increment of one Brownian path per picture.

        Unlike `next`, it depends only on the seeds and the two sigmas, so that more steps refine the same picture.
        """
        paths = [BrownianPath(low, high, seed % SEEDS, self._draw) for seed in self.seeds]

        def noise(sigma: float, sigma_next: float) -> torch.Tensor:
            return torch.stack([path.unit_increment(sigma, sigma_next) for path in paths]).to(self.device)

        return noise

    def _draw(self, seed: int) -> torch.Tensor:
        return generator(self.source, seed, self.device).normal(self.shape)
