"""Classifier-free guidance: what is said away from what is not (Ho and Salimans 2022, arXiv:2207.12598)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from modules.params import TagbrushError

from .blend import Blend, SoftBlend
from .context import Context, Predict
from .denoisers import Perspective, View
from .passes import Passes, Scheduled

ONE = 1e-6


def needs_uncond(cfg_scale: float, weights: Iterable[float]) -> bool:
    """Whether anything of the unconditional prediction is left: nothing is at a guidance of exactly 1."""
    return abs(cfg_scale * sum(weights) - 1) > ONE


@dataclass(frozen=True)
class GuidanceOptions:
    """When the unconditional pass is left out, and how prompts of different length meet. Named as A1111's settings."""

    s_min_uncond: float = 0.0
    """Below this sigma every other call does without the unconditional pass ("negative guidance minimum sigma")."""
    s_min_uncond_all: bool = False
    """Below it, every call does without."""
    skip_early_cond: float = 0.0
    """This share of the calls, from the first, does without."""
    batch_cond_uncond: bool = True
    """Ask for both passes in one call where they are of one length."""
    pad_cond_uncond: bool = False
    """Lengthen the shorter of the two with empty prompts."""
    pad_cond_uncond_v0: bool = False
    """Lengthen the negative prompt with its last vector, or cut it off, to the prompt's length."""
    image_cfg_scale: float | None = None
    """How far from its picture an instruct-pix2pix model goes; None, and 1, guide it like any other model."""


@dataclass(frozen=True, eq=False)
class Prompted:
    """A model and what is said to it for B pictures."""

    predict: Predict
    conds: Sequence[Scheduled]
    unconds: Sequence[Scheduled]
    concat: torch.Tensor | None = None
    """(B, K, H, W): the channels that follow those of x."""
    empty: torch.Tensor | None = None
    """(77, D): the tokens of an empty prompt; `pad_cond_uncond` needs them."""
    apart: Callable[[], AbstractContextManager[object]] | None = None
    """What an unconditional call of its own has to happen inside."""
    view: View | None = None
    """How samplers see this model, where that is not how they see the one that the run starts with."""


@dataclass(frozen=True, eq=False)
class Handover:
    """Another model that goes on from a share of the run: a refiner."""

    start: float
    take: Callable[[], Prompted]
    by_calls: bool = False
    """Whether the share is that of the calls, not of the timesteps."""

    def is_due(self, called: float, elapsed: float) -> bool:
        """Whether the run is that far, by the shares of its calls and of the timesteps."""
        return (called if self.by_calls else elapsed) >= self.start


class Guidance:
    """A model under guidance: uncond + cfg * sum of w_i * (cond_i - uncond), each as the sampler sees it (P041).

    One instance serves one run.
    """

    def __init__(
        self,
        prompted: Prompted,
        cfg_scale: float,
        options: GuidanceOptions | None = None,
        *,
        blend: Blend | SoftBlend | None = None,
        handover: Handover | None = None,
    ) -> None:
        self.prompted, self.scale, self.options = prompted, cfg_scale, options or GuidanceOptions()
        self.blend, self.handover = blend, handover
        self.effective: set[str] = set()
        """The names of the options that have changed something so far; infotexts show these only."""

    def through(self, perspective: Perspective) -> GuidedDenoiser:
        """The guided model as a sampler sees it."""
        return GuidedDenoiser(self, perspective)


class GuidedDenoiser:
    """Guidance under way. It counts its calls, by which prompts change (P032). All x are (B, C, H, W)."""

    def __init__(self, guidance: Guidance, perspective: Perspective) -> None:
        self._perspective, self._options = perspective, guidance.options
        self._scale = guidance.scale * perspective.scale
        self._blend, self._handover, self._effective = guidance.blend, guidance.handover, guidance.effective
        self._calls = 0
        self._take(guidance.prompted)

    def __call__(self, x: torch.Tensor, at: float) -> torch.Tensor:
        """x0 or eps at a sigma or timestep, with guidance in it."""
        return self._guide(x, at, wants_uncond=False)[0]

    def both(self, x: torch.Tensor, at: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The same, and what the negative prompt alone makes of x; where its pass is left out, what the prompt does."""
        return self._guide(x, at, wants_uncond=True)

    def _take(self, prompted: Prompted) -> None:
        """Go on with this model."""
        self._prompted = prompted
        self._see = (prompted.view or self._perspective.view)(prompted.predict)
        self._passes: Passes | None = None

    def _guide(self, x: torch.Tensor, at: float, *, wants_uncond: bool) -> tuple[torch.Tensor, torch.Tensor]:
        if self._handover is not None and self._handover.is_due(self._done, self._perspective.elapsed(at)):
            self._take(self._handover.take())
            self._handover = None
        if self._blend is not None and self._perspective.blends_first:
            x = self._blend(x, at)
        guided, uncond = self._ask(self._current(x.device), x, at, wants_uncond)
        self._calls += 1
        if self._blend is not None and not self._perspective.blends_first:
            guided = self._blend(guided, at)
        return guided, uncond

    @property
    def _done(self) -> float:
        """The share of the run's calls that are done."""
        return self._calls / self._perspective.calls

    def _ask(self, passes: Passes, x: torch.Tensor, at: float, wants_uncond: bool) -> tuple[torch.Tensor, torch.Tensor]:
        if option := self._leaves_out_uncond(passes, at):
            self._effective.add(option)
            cond = self._conditional(passes, x, at)
            first = passes.first(cond)
            return passes.combine(cond, first, 1.0), first
        if passes.is_three_way:
            cond, uncond = self._conditional_and_not(passes, x, at)
            with_picture, without = uncond.chunk(2)
            return self._three_ways(cond, with_picture, without), without
        if not wants_uncond and not any(needs_uncond(self._scale, weights) for weights in passes.weights):
            cond = self._conditional(passes, x, at)
            first = passes.first(cond)
            # the weights times the scale add up to 1, so that it does not matter what is said away from
            return passes.combine(cond, first, self._scale), first
        cond, uncond = self._conditional_and_not(passes, x, at)
        return passes.combine(cond, uncond, self._scale), uncond

    def _leaves_out_uncond(self, passes: Passes, at: float) -> str | None:
        """The option by which this call does without the unconditional pass."""
        options = self._options
        if options.skip_early_cond and self._done <= options.skip_early_cond:
            return "skip_early_cond"
        if at < options.s_min_uncond and not passes.is_three_way:
            if options.s_min_uncond_all:
                return "s_min_uncond_all"
            if self._calls % 2:
                return "s_min_uncond"
        return None

    def _three_ways(self, cond: torch.Tensor, with_picture: torch.Tensor, without: torch.Tensor) -> torch.Tensor:
        """Away from no text, and away from no picture (Brooks et al. 2023, arXiv:2211.09800, eq. 3)."""
        image_scale = self._options.image_cfg_scale
        assert image_scale is not None
        return without + (cond - with_picture) * self._scale + (with_picture - without) * image_scale

    def _conditional(self, passes: Passes, x: torch.Tensor, at: float) -> torch.Tensor:
        """(N, C, H, W): what is seen of each part of the prompts."""
        return self._in_portions(passes.spread(x), at, passes.cond)

    def _conditional_and_not(self, passes: Passes, x: torch.Tensor, at: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C, H, W) of each part, and (B or 2B, C, H, W) without: in one call where both are of one length."""
        cond_x = passes.spread(x)
        uncond_x = torch.cat([x, x]) if passes.is_three_way else x
        apart = self._prompted.apart
        if passes.joined is not None and apart is None and self._options.batch_cond_uncond:
            seen = self._see(torch.cat([cond_x, uncond_x]), at, passes.joined)
            cond, uncond = seen.split([len(cond_x), len(uncond_x)])
            return cond, uncond
        cond = self._in_portions(cond_x, at, passes.cond)
        with nullcontext() if apart is None else apart():
            return cond, self._in_portions(uncond_x, at, passes.uncond)

    def _in_portions(self, x: torch.Tensor, at: float, context: Context) -> torch.Tensor:
        size = len(x) if self._options.batch_cond_uncond else len(self._prompted.conds)
        if len(x) <= size:
            return self._see(x, at, context)
        parts = [slice(start, start + size) for start in range(0, len(x), size)]
        return torch.cat([self._see(x[part], at, context.rows(part)) for part in parts])

    def _current(self, device: torch.device) -> Passes:
        """The contexts of this call; the last ones again as long as no prompt has changed."""
        prompted = self._prompted
        parts = [cond.at(self._calls) for cond in prompted.conds]
        unconds = [uncond.at(self._calls)[0][1] for uncond in prompted.unconds]
        if self._passes is None or not self._passes.holds(parts, unconds):
            is_three_way = self._options.image_cfg_scale not in (None, 1.0)
            if is_three_way and any(len(mine) > 1 for mine in parts):
                raise TagbrushError(
                    "AND was used with an instruct-pix2pix model, which is guided by a picture too. "
                    "Take AND out of the prompt, or set the image CFG scale to 1."
                )
            self._passes = Passes(
                parts, unconds, device, concat=prompted.concat, match=self._match, is_three_way=is_three_way
            )
        return self._passes

    def _match(self, cond: torch.Tensor, uncond: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (N, T, D) and (B, U, D), of one length where the options ask for it."""
        missing = cond.shape[1] - uncond.shape[1]
        if missing == 0:
            return cond, uncond
        if self._options.pad_cond_uncond_v0:
            self._effective.add("pad_cond_uncond_v0")
            last = uncond[:, -1:].expand(-1, max(missing, 0), -1)
            return cond, torch.cat([uncond, last], 1)[:, : cond.shape[1]]
        if self._options.pad_cond_uncond and self._prompted.empty is not None:
            self._effective.add("pad_cond_uncond")
            empty = self._prompted.empty.to(cond)
            return _pad(cond, -missing, empty), _pad(uncond, missing, empty)
        return cond, uncond


def _pad(tokens: torch.Tensor, missing: int, empty: torch.Tensor) -> torch.Tensor:
    """(N, T, D) with as many empty prompts (77, D) behind as fit into `missing`."""
    if missing <= 0:
        return tokens
    return torch.cat([tokens, empty.repeat(missing // len(empty), 1).expand(len(tokens), -1, -1)], 1)
