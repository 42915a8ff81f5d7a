from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from modules.sampling import Context, Denoiser, Guidance, GuidanceOptions, Perspective, Predict, Prompted, Seen

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Prompt:
    """A prompt that changes at `until` calls, each entry the parts from then on."""

    entries: tuple[tuple[int, tuple[tuple[float, Context], ...]], ...]

    def at(self, step: int) -> Sequence[tuple[float, Context]]:
        return next(parts for until, parts in self.entries if step <= until)


def context(value: float, tokens: int = 77) -> Context:
    return Context(torch.full((tokens, 6), value))


def prompt(*parts: tuple[float, Context]) -> Prompt:
    return Prompt(((10**6, parts),))


def plain(value: float, tokens: int = 77) -> Prompt:
    return prompt((1.0, context(value, tokens)))


class Model:
    """A model whose output is x plus the mean of its context: guidance can be read off."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, x: torch.Tensor, timestep: float, ctx: Context) -> torch.Tensor:
        assert len(x) == len(ctx.tokens)
        self.calls.append((len(x), ctx.tokens.shape[1]))
        return x + ctx.tokens.mean((1, 2))[:, None, None, None]


def as_it_is(predict: Predict) -> Seen:
    return predict


def guided(
    predict: Predict,
    conds: Sequence[Prompt],
    unconds: Sequence[Prompt],
    scale: float,
    options: GuidanceOptions | None = None,
    *,
    calls: int = 10,
    **given: Any,
) -> Denoiser:
    """The model's own output under guidance, in a run of ten calls."""
    guidance = Guidance(Prompted(predict, conds, unconds, **given), scale, options)
    return guidance.through(Perspective(as_it_is, calls, lambda at: 0.0))


def shift(guidance: Denoiser, x: torch.Tensor = X) -> list[float]:
    return [round(value, 4) for value in (guidance(x, 500.0) - x).mean((1, 2, 3)).tolist()]


def test_guidance_goes_from_uncond_past_cond() -> None:
    model = Model()
    guidance = guided(model, [plain(3.0), plain(5.0)], [plain(1.0), plain(2.0)], 7.0)
    assert shift(guidance) == [1 + 7 * 2, 2 + 7 * 3]
    assert model.calls == [(4, 77)]


def test_parts_add_up_by_their_weights_even_where_these_cancel() -> None:
    model = Model()
    two = prompt((1.0, context(3.0)), (-1.0, context(5.0)))
    assert shift(guided(model, [two, plain(2.0)], [plain(1.0), plain(1.0)], 7.0)) == [1 + 7 * (2 - 4), 1 + 7 * 1]
    assert model.calls == [(5, 77)]


def test_a_picture_of_a_batch_is_guided_as_alone() -> None:
    two = prompt((0.7, context(3.0)), (0.4, context(5.0)), (-0.3, context(9.0)))
    together = guided(Model(), [plain(2.0), two], [plain(1.0), plain(0.5)], 4.0)(X, 3.0)
    alone = guided(Model(), [two], [plain(0.5)], 4.0)(X[1:], 3.0)
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-5)


def test_contexts_of_different_length_are_asked_apart() -> None:
    model = Model()
    guidance = guided(model, [plain(3.0, 154), plain(3.0, 154)], [plain(1.0), plain(1.0)], 2.0)
    assert shift(guidance) == [5, 5]
    assert model.calls == [(2, 154), (2, 77)]


def test_a_shorter_part_repeats_its_last_vector() -> None:
    model = Model()
    both = prompt((1.0, context(3.0, 154)), (1.0, context(1.0)))
    assert shift(guided(model, [both], [plain(1.0)], 1.0), X[:1]) == [3]
    assert model.calls == [(2, 154), (1, 77)]


def test_guidance_of_one_needs_no_unconditional_call() -> None:
    model = Model()
    assert shift(guided(model, [plain(3.0), plain(5.0)], [plain(1.0), plain(1.0)], 1.0)) == [3, 5]
    assert model.calls == [(2, 77)]


def test_guidance_of_one_still_counts_the_unconditional_where_weights_do_not_add_up_to_one() -> None:
    model = Model()
    assert shift(guided(model, [prompt((3.0, context(3.0)))], [plain(1.0)], 1.0), X[:1]) == [1 + 3 * 2]
    assert model.calls == [(2, 77)]


def test_a_pass_of_its_own_surrounds_the_unconditional_call_alone() -> None:
    seen: list[str] = []

    @contextmanager
    def apart() -> Iterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    def predict(x: torch.Tensor, timestep: float, ctx: Context) -> torch.Tensor:
        seen.append(f"call {ctx.tokens.mean():.0f}")
        return x

    guided(predict, [plain(3.0)], [plain(1.0)], 7.0, apart=apart)(X[:1], 1.0)
    assert seen == ["call 3", "in", "call 1", "out"]


def test_prompts_change_with_the_count_of_calls() -> None:
    changing = Prompt(((1, ((1.0, context(3.0)),)), (9, ((1.0, context(5.0)),))))
    guidance = guided(Model(), [changing], [plain(1.0)], 1.0)
    assert [shift(guidance, X[:1]) for _ in range(4)] == [[3], [3], [5], [5]]


def test_contexts_are_stacked_once_while_no_prompt_changes() -> None:
    seen: list[int] = []

    def predict(x: torch.Tensor, timestep: float, ctx: Context) -> torch.Tensor:
        seen.append(ctx.tokens.data_ptr())
        return x

    guidance = guided(predict, [plain(3.0)], [plain(1.0)], 7.0)
    for _ in range(3):
        guidance(X[:1], 1.0)
    assert len(set(seen)) == 1


@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5, 7.0])
def test_an_unconditional_prompt_equal_to_the_prompt_changes_nothing(scale: float) -> None:
    guidance = guided(Model(), [plain(3.0)], [plain(3.0)], scale)
    assert shift(guidance, X[:1]) == [3]
