"""The views of a model against A1111's arithmetic, done here in float32 tensors as it does it."""

import pytest
import torch

from modules.sampling import Context, NoiseLevels
from modules.sampling.denoisers import consistency_view, sigma_view, timestep_view

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
OUTPUT = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
NOTHING = Context(torch.zeros(2, 77, 8))
SIGMAS = [0.0292, 0.7, 3.3, 14.6146]


class Model:
    """Answers with the same output, and keeps what it is asked."""

    def __call__(self, x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
        self.x, self.timestep = x, timestep
        return OUTPUT


@pytest.fixture
def levels(alphas_cumprod: torch.Tensor) -> NoiseLevels:
    return NoiseLevels.of_model(alphas_cumprod)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_noise_prediction_is_seen_as_a_picture(sigma: float, levels: NoiseLevels) -> None:
    model, wide = Model(), torch.full((2, 1, 1, 1), sigma)
    got = sigma_view(levels, "epsilon")(model)(X, sigma, NOTHING)
    assert torch.equal(model.x, X * (1 / (wide**2 + 1) ** 0.5))
    assert torch.equal(got, X + OUTPUT * -wide)
    assert model.timestep == levels.timestep(sigma)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_v_prediction_is_seen_as_a_picture(sigma: float, levels: NoiseLevels) -> None:
    wide = torch.full((2, 1, 1, 1), sigma)
    got = sigma_view(levels, "v")(Model())(X, sigma, NOTHING)
    assert torch.equal(got, OUTPUT * (-wide / (wide**2 + 1) ** 0.5) + X * (1 / (wide**2 + 1)))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_consistency_model_blends_with_x_near_the_end(sigma: float, alphas_cumprod: torch.Tensor) -> None:
    own = NoiseLevels.of_consistency_model(alphas_cumprod)
    got = consistency_view(own)(Model())(X, sigma, NOTHING)
    wide, time = torch.full((2, 1, 1, 1), sigma), torch.tensor(own.timestep(sigma)) * 10.0
    keep, take = 0.5**2 / (time**2 + 0.5**2), time / (time**2 + 0.5**2) ** 0.5
    assert torch.equal(got, take * (X + OUTPUT * -wide) + keep * X)


def test_the_noise_at_a_timestep_is_what_the_model_says_or_follows_from_v(alphas_cumprod: torch.Tensor) -> None:
    assert torch.equal(timestep_view(alphas_cumprod, "epsilon")(Model())(X, 700, NOTHING), OUTPUT)
    got = timestep_view(alphas_cumprod, "v")(Model())(X, 700.6, NOTHING)
    signal, noise = alphas_cumprod.sqrt()[700], (1 - alphas_cumprod).sqrt()[700]
    assert torch.equal(got, OUTPUT * signal + X * noise)
    # x = signal * picture + noise * eps and v = signal * eps - noise * picture
    picture, eps = X, OUTPUT
    x, v = picture * signal + eps * noise, eps * signal - picture * noise
    again = timestep_view(alphas_cumprod, "v")(lambda *_: v)(x, 700.6, NOTHING)
    torch.testing.assert_close(again, eps, rtol=0, atol=1e-6)
