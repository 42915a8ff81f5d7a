from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from modules.params import TagbrushError
from modules.sampling import (
    Blend,
    Context,
    Denoiser,
    Guidance,
    GuidanceOptions,
    Handover,
    Perspective,
    Predict,
    Prompted,
    Seen,
)

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
    prompted = Prompted(predict, conds, unconds, **given)
    return Guidance(prompted, scale, options).through(Perspective(as_it_is, calls, lambda at: 0.0))


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
    # P045
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


def test_weights_that_add_up_to_nothing_leave_the_difference_of_the_parts() -> None:
    """P041: a normalised average would divide by zero here."""
    opposite = prompt((0.5, context(3.0)), (-0.5, context(7.0)))
    assert shift(guided(Model(), [opposite], [plain(1.0)], 6.0), X[:1]) == [1 + 6 * (0.5 * 2 - 0.5 * 6)]


def test_a_weight_without_and_multiplies_the_guidance() -> None:
    """P042: `cat:3` is guided three times as strongly."""
    heavy = guided(Model(), [prompt((3.0, context(2.0)))], [plain(1.0)], 7.0)(X[:1], 1.0)
    assert torch.equal(heavy, guided(Model(), [plain(2.0)], [plain(1.0)], 21.0)(X[:1], 1.0))


def test_the_unconditional_prediction_is_there_for_samplers_that_ask() -> None:
    for scale in (7.0, 1.0):
        got, uncond = guided(Model(), [plain(3.0)], [plain(1.0)], scale).both(X[:1], 1.0)
        torch.testing.assert_close(got - X[:1], torch.full_like(X[:1], 1 + scale * 2))
        torch.testing.assert_close(uncond - X[:1], torch.full_like(X[:1], 1.0))


def test_a_sampler_may_scale_the_guidance() -> None:
    guidance = Guidance(Prompted(Model(), [plain(3.0)], [plain(1.0)]), 7.0)
    assert shift(guidance.through(Perspective(as_it_is, 10, lambda at: 0.0, scale=0.5)), X[:1]) == [1 + 3.5 * 2]


def test_what_is_mixed_is_what_the_sampler_sees() -> None:
    """A view that is not linear shows which of the two is done first."""

    def squared(predict: Predict) -> Seen:
        return lambda x, at, ctx: predict(x, at, ctx) ** 2

    guidance = Guidance(Prompted(Model(), [plain(3.0)], [plain(1.0)]), 7.0).through(
        Perspective(squared, 10, lambda at: 0.0)
    )
    assert guidance(torch.zeros(1, 4, 8, 8), 1.0).mean().item() == 1 + 7 * (9 - 1)


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        (GuidanceOptions(s_min_uncond=3.0), [2, 2, 2, 1, 2, 1]),
        (GuidanceOptions(s_min_uncond=3.0, s_min_uncond_all=True), [2, 2, 2, 1, 1, 1]),
        (GuidanceOptions(skip_early_cond=0.3), [1, 1, 1, 2, 2, 2]),
        (GuidanceOptions(), [2, 2, 2, 2, 2, 2]),
    ],
)
def test_the_unconditional_pass_is_left_out_below_a_sigma_or_at_first(
    options: GuidanceOptions, calls: list[int]
) -> None:
    """E003: below the sigma at every other call or at all, or in the first share of six steps of two calls each."""
    model = Model()
    guidance = guided(model, [plain(3.0)], [plain(1.0)], 7.0, options, calls=8)
    got = [round((guidance(X[:1], sigma) - X[:1]).mean().item(), 3) for sigma in (9.0, 5.0, 3.0, 2.0, 1.0, 0.5)]
    assert [rows for rows, _ in model.calls] == calls
    assert got == [3 if rows == 1 else 15 for rows in calls]


def test_parts_are_led_away_from_the_first_where_the_unconditional_pass_is_left_out() -> None:
    two = prompt((1.0, context(3.0)), (0.5, context(5.0)))
    guidance = guided(Model(), [plain(2.0), two], [plain(1.0)] * 2, 7.0, GuidanceOptions(skip_early_cond=1.0))
    assert shift(guidance) == [2, 3 + 0.5 * 2]


def test_only_options_that_did_something_are_effective() -> None:
    options = GuidanceOptions(s_min_uncond=3.0, pad_cond_uncond_v0=True)
    guidance = Guidance(Prompted(Model(), [plain(3.0)], [plain(1.0)]), 7.0, options)
    denoise = guidance.through(Perspective(as_it_is, 10, lambda at: 0.0))
    for sigma in (9.0, 5.0, 2.0):
        denoise(X[:1], sigma)
    assert guidance.effective == set()
    denoise(X[:1], 1.0)
    assert guidance.effective == {"s_min_uncond"}


@pytest.mark.parametrize("said", ["cond", "uncond"])
def test_the_shorter_of_two_prompts_is_padded_with_empty_ones(said: str) -> None:
    model = Model()
    long, short = (plain(3.0, 231), plain(1.0)) if said == "cond" else (plain(3.0), plain(1.0, 231))
    empty = torch.full((77, 6), 4.0)
    options = GuidanceOptions(pad_cond_uncond=True)
    got = shift(guided(model, [long], [short], 7.0, options, empty=empty), X[:1])
    assert model.calls == [(2, 231)]
    cond, uncond = (3, (1 + 2 * 4) / 3) if said == "cond" else ((3 + 2 * 4) / 3, 1)
    assert got == [pytest.approx(uncond + 7 * (cond - uncond), abs=1e-3)]


def test_the_old_padding_repeats_the_last_vector_of_the_negative_prompt_or_cuts_it_off() -> None:
    options = GuidanceOptions(pad_cond_uncond_v0=True, pad_cond_uncond=True)
    for length, other in ((154, 77), (77, 154)):
        model = Model()
        assert shift(guided(model, [plain(3.0, length)], [plain(1.0, other)], 2.0, options), X[:1]) == [5]
        assert model.calls == [(2, length)]


def test_the_passes_of_one_length_are_asked_apart_where_the_option_says_so() -> None:
    model = Model()
    two = prompt((1.0, context(3.0)), (1.0, context(5.0)), (1.0, context(7.0)))
    options = GuidanceOptions(batch_cond_uncond=False)
    assert shift(guided(model, [two, plain(2.0)], [plain(1.0)] * 2, 2.0, options)) == [1 + 2 * (2 + 4 + 6), 3]
    assert [rows for rows, _ in model.calls] == [2, 2, 2]


class PictureModel:
    """A model whose output is the mean of its context, and ten times that of the channels of a picture."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, x: torch.Tensor, timestep: float, ctx: Context) -> torch.Tensor:
        assert ctx.concat is not None
        self.rows.append(len(x))
        shown = ctx.tokens.mean((1, 2)) + 10 * ctx.concat.mean((1, 2, 3))
        return torch.zeros_like(x) + shown[:, None, None, None]


def test_channels_of_a_picture_go_with_each_part_of_its_prompt() -> None:
    two = prompt((0.5, context(3.0)), (0.5, context(5.0)))
    concat = torch.tensor([1.0, 2.0])[:, None, None, None].expand(2, 5, 8, 8)
    guidance = guided(PictureModel(), [plain(2.0), two], [plain(1.0)] * 2, 2.0, concat=concat)
    assert guidance(X, 1.0).mean((1, 2, 3)).tolist() == [10 + 1 + 2 * 1, 20 + 1 + 2 * 3]


def test_three_ways_lead_away_from_no_text_and_from_no_picture() -> None:
    """No text and no picture, plus 1.5 times what the picture adds, plus 7 times what the text adds."""
    for batch_cond_uncond, rows in ((True, [3]), (False, [1, 1, 1])):
        model = PictureModel()
        options = GuidanceOptions(image_cfg_scale=1.5, batch_cond_uncond=batch_cond_uncond)
        concat = torch.full((1, 4, 8, 8), 2.0)
        guidance = guided(model, [plain(3.0)], [plain(1.0)], 7.0, options, concat=concat)
        assert guidance(X[:1], 1.0).mean().item() == 1 + 1.5 * 20 + 7 * 2
        assert model.rows == rows


def test_an_image_guidance_of_one_is_two_ways_and_knows_and() -> None:
    model = PictureModel()
    two = prompt((0.5, context(3.0)), (0.5, context(5.0)))
    concat = torch.full((1, 4, 8, 8), 2.0)
    options = GuidanceOptions(image_cfg_scale=1.0)
    assert guided(model, [two], [plain(1.0)], 7.0, options, concat=concat)(X[:1], 1.0).mean().item() == 21 + 7 * 3
    with pytest.raises(TagbrushError, match="AND"):
        guided(model, [two], [plain(1.0)], 7.0, GuidanceOptions(image_cfg_scale=1.5), concat=concat)(X[:1], 1.0)


@pytest.mark.parametrize("blends_first", [True, False])
def test_the_original_is_put_back_before_or_after_the_model_sees_the_picture(blends_first: bool) -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4], mask[..., 4] = 1, 0.25
    original = torch.full((1, 4, 8, 8), 10.0)
    seen: list[torch.Tensor] = []

    def predict(x: torch.Tensor, timestep: float, ctx: Context) -> torch.Tensor:
        seen.append(x[:1])
        return x + 1

    guidance = Guidance(Prompted(predict, [plain(3.0)], [plain(1.0)]), 7.0, blend=Blend(original, mask))
    x = torch.full((1, 4, 8, 8), 2.0)
    out = guidance.through(Perspective(as_it_is, 10, lambda at: 0.0, blends_first=blends_first))(x, 1.0)
    blended_x, blended_out = 2 * mask + 10 * (1 - mask), 3 * mask + 10 * (1 - mask)
    assert torch.equal(seen[0], (blended_x if blends_first else x.new_tensor(2.0)).expand(1, 4, 8, 8))
    assert torch.equal(out, (blended_x + 1 if blends_first else blended_out).expand(1, 4, 8, 8))


@pytest.mark.parametrize(("by_calls", "asked"), [(False, [1, 2, 2, 2]), (True, [1, 1, 1, 2])])
def test_another_model_goes_on_from_a_share_of_the_timesteps_or_of_the_calls(by_calls: bool, asked: list[int]) -> None:
    seen: list[int] = []

    def model(number: int) -> Prompted:
        def predict(x: torch.Tensor, timestep: float, ctx: Context) -> torch.Tensor:
            seen.append(number)
            return x + ctx.tokens.mean()

        return Prompted(predict, [changing], [plain(0.0)])

    changing = Prompt(((1, ((1.0, context(3.0)),)), (9, ((1.0, context(5.0)),))))
    handover = Handover(0.5, lambda: model(2), by_calls=by_calls)
    guidance = Guidance(model(1), 1.0, handover=handover).through(Perspective(as_it_is, 6, lambda at: 1 - at))
    assert [shift_at(guidance, at) for at in (0.9, 0.4, 0.3, 0.2)] == [3, 3, 5, 5]  # the prompt goes on as it is
    assert seen == asked


def shift_at(guidance: Denoiser, at: float) -> float:
    return round((guidance(X[:1], at) - X[:1]).mean().item(), 4)


def test_pooled_vectors_and_sizes_are_stacked_with_their_tokens() -> None:
    seen: list[Context] = []

    def predict(x: torch.Tensor, timestep: float, ctx: Context) -> torch.Tensor:
        seen.append(ctx)
        return x

    def of(value: float) -> Prompt:
        pooled, time_ids = torch.full((5,), value), torch.full((6,), value)
        return prompt((1.0, context(value)._replace(pooled=pooled, time_ids=time_ids)))

    guided(predict, [of(1.0), of(2.0)], [of(3.0), of(4.0)], 7.0)(X, 1.0)
    (context_,) = seen
    assert context_.pooled is not None and context_.time_ids is not None
    assert context_.pooled[:, 0].tolist() == context_.time_ids[:, 0].tolist() == [1, 2, 3, 4]
    assert (context_.pooled.shape, context_.time_ids.shape) == ((4, 5), (4, 6))
