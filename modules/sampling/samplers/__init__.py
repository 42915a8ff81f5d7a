"""The samplers, a page each: functions of a denoiser that yield where they stand, so that the caller may stop them."""

from .ddim import ddim
from .dpmpp_2m import dpmpp_2m
from .dpmpp_2m_sde import dpmpp_2m_sde
from .euler import euler
from .euler_ancestral import euler_ancestral
from .lcm import lcm
from .step import Step, StepNoise, ancestral_step

__all__ = [
    "Step",
    "StepNoise",
    "ancestral_step",
    "ddim",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "euler",
    "euler_ancestral",
    "lcm",
]
