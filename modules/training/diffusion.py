"""The forward process of SD 1.x and what a v-prediction model (Salimans & Ho 2022, arXiv:2202.00512) learns of it."""

import torch

STEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012


def make_alphas_cumprod() -> torch.Tensor:
    """Return SD 1.x's "scaled linear" schedule: the signal's share of the variance after each of 1000 steps, fp32."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, STEPS, dtype=torch.float64) ** 2
    return (1.0 - betas).cumprod(0).float()


def signal_and_noise(alphas_cumprod: torch.Tensor, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the factors (alpha, sigma) at timesteps (B,), each (B, 1, 1, 1); alpha² + sigma² = 1."""
    share = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return share.sqrt(), (1.0 - share).sqrt()


def stratified_timesteps(count: int, generator: torch.Generator, part: int = 0, parts: int = 1) -> torch.Tensor:
    """Draw `count` timesteps, one from each of count * parts equal strata of which this process owns every parts-th.

    Uniform over all, but with far less variance of the loss than independent draws.
    """
    strata = torch.arange(count) * parts + part
    return ((strata + torch.rand(count, generator=generator)) * (STEPS / (count * parts))).long().clamp_(max=STEPS - 1)


def add_noise(clean: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return the noisy latents x = alpha x0 + sigma eps."""
    return alpha * clean + sigma * noise


def velocity(clean: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return the training target v = alpha eps - sigma x0."""
    return alpha * noise - sigma * clean


def clean_from_velocity(
    noisy: torch.Tensor, predicted: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Return the x0 that a prediction of v implies."""
    return alpha * noisy - sigma * predicted


def noise_from_velocity(
    noisy: torch.Tensor, predicted: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """Return the eps that a prediction of v implies."""
    return sigma * noisy + alpha * predicted
