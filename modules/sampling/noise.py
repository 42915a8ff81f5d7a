"""Where noise comes from: one generator per picture, so that a picture of a batch equals the same seed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch

from modules.params import LATENT_PIXELS, TagbrushError

from .brownian import BrownianPath
from .philox import Philox

Source = Literal["NV", "CPU", "GPU"]
SEEDS = 2**64
PARALLEL = 0.9995  # the mean cosine above which noises count as parallel
STRAIGHT = 1e-3  # the sine below which a column's arc cannot be told from a line


class Generator(Protocol):
    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """float32 of `shape`, mean 0 and variance 1; a new one each time."""


class _Torch:
    def __init__(self, seed: int, device: torch.device) -> None:
        self._numbers = torch.Generator(device).manual_seed(seed % SEEDS)

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(tuple(shape), generator=self._numbers, device=self._numbers.device)


def generator(source: Source, seed: int, device: torch.device) -> Generator:
    """A fresh generator. "NV" gives an NVIDIA GPU's numbers on any machine, "GPU" those of `device` itself."""
    match source:
        case "NV":
            return Philox(seed, device if device.type == "cuda" else "cpu")  # others may lack float64
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
    """The noise of one batch: (B, C, H, W) float32 on `device`, drawn per picture from its own seed (U011).

    `eta_delta` is added to the seeds for every draw after the first (A1111's eta noise seed delta). A picture's first
    noise may be led towards that of a subseed (A1111's variation), and be that of another size as far as it goes.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        source: Source = "NV",
        *,
        device: torch.device | str = "cpu",
        eta_delta: int = 0,
        subseeds: Sequence[int] | None = None,
        subseed_strength: float = 0.0,
        seed_resize_from: tuple[int, int] | None = None,
    ) -> None:
        """`subseeds`: one per picture; `seed_resize_from`: width and height in pixels of the picture to start like."""
        self.seeds, self.shape, self.source = tuple(seeds), tuple(shape), source
        self.device = torch.device(device)
        self._generators = [generator(source, seed, self.device) for seed in self.seeds]
        self._eta_delta = eta_delta
        self._subseeds = tuple(subseeds) if subseeds is not None and subseed_strength else None
        self._strength = subseed_strength
        width, height = seed_resize_from or (0, 0)
        is_resized = width > 0 and height > 0
        self._first_shape = (
            (self.shape[0], height // LATENT_PIXELS, width // LATENT_PIXELS) if is_resized else self.shape
        )

    def first(self) -> torch.Tensor:
        """The initial noise; call it once, before `next`."""
        noise = self._there([self._first_of(picture) for picture in range(len(self.seeds))])
        if self._eta_delta:
            self._generators = [generator(self.source, seed + self._eta_delta, self.device) for seed in self.seeds]
        return noise

    def _first_of(self, picture: int) -> torch.Tensor:
        """(C, H, W). A noise of another size is not drawn from the picture's generator, which fills what is left."""
        is_resized = self._first_shape != self.shape
        own = self._generators[picture]
        noise = (generator(self.source, self.seeds[picture], self.device) if is_resized else own).normal(
            self._first_shape
        )
        if self._subseeds is not None:
            other = generator(self.source, self._subseeds[picture], self.device).normal(self._first_shape)
            noise = slerp(noise, other, self._strength)
        return pasted(noise, own.normal(self.shape)) if is_resized else noise

    def next(self) -> torch.Tensor:
        """Fresh noise for a step."""
        return self._there([each.normal(self.shape) for each in self._generators])

    def brownian(self, low: float, high: float) -> Callable[[float, float], torch.Tensor]:
        """Noise for a step between two sigmas of [low, high], the increment of one Brownian path per picture.

        Unlike `next`, it depends only on the seeds and the two sigmas, so that more steps refine the same picture.
        """
        paths = [BrownianPath(low, high, seed % SEEDS, self._draw) for seed in self.seeds]

        def noise(sigma: float, sigma_next: float) -> torch.Tensor:
            return self._there([path.unit_increment(sigma, sigma_next) for path in paths])

        return noise

    def _there(self, noises: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, C, H, W) on the device; numbers made on the CPU follow what the GPU has to do, and nobody waits."""
        noise = torch.stack(list(noises))
        if self.device.type == "cuda" and noise.device.type == "cpu":
            noise = noise.pin_memory()
        return noise.to(self.device, non_blocking=True)

    def _draw(self, seed: int) -> torch.Tensor:
        return generator(self.source, seed, self.device).normal(self.shape)


def slerp(start: torch.Tensor, end: torch.Tensor, share: float) -> torch.Tensor:
    """(C, H, W) on the arc from `start` to `end`, so that noise keeps its length (Shoemake 1985).

    As in A1111, each column (along dimension 1) has an arc of its own, and where the two are nearly parallel as a
    whole the line between them is walked from its other end. Opposite columns have no arc but the line through zero.
    """
    cosine = (_unit(start) * _unit(end)).sum(1)
    if cosine.mean() > PARALLEL:
        return start * share + end * (1 - share)
    angle = torch.acos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    has_arc = sine.abs() > STRAIGHT
    towards_start = torch.where(has_arc, torch.sin((1 - share) * angle) / sine, 1 - share)
    towards_end = torch.where(has_arc, torch.sin(share * angle) / sine, share)
    return towards_start.unsqueeze(1) * start + towards_end.unsqueeze(1) * end


def _unit(noise: torch.Tensor) -> torch.Tensor:
    return noise / torch.norm(noise, dim=1, keepdim=True)


def pasted(small: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
    """`ground` (C, H, W) with `small` (C, h, w) over its middle, or the middle of `small` where that is larger."""
    (ground_rows, small_rows), (ground_columns, small_columns) = (
        _middle(ground.shape[axis], small.shape[axis]) for axis in (1, 2)
    )
    ground[:, ground_rows, ground_columns] = small[:, small_rows, small_columns]
    return ground


def _middle(ground: int, small: int) -> tuple[slice, slice]:
    """Where the two lie on each other along one axis."""
    offset = (ground - small) // 2
    length = small if offset >= 0 else small + 2 * offset
    at, cut = max(offset, 0), max(-offset, 0)
    return slice(at, at + length), slice(cut, cut + length)
