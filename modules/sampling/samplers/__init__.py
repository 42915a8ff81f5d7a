"""The samplers, a page each: functions of a denoiser that yield where they stand, so that the caller may stop them."""

from .ddim import ddim
from .ddim_cfgpp import GUIDANCE_SHARE, ddim_cfgpp
from .dpm2 import dpm2
from .dpm2_ancestral import dpm2_ancestral
from .dpm_adaptive import dpm_adaptive
from .dpm_fast import dpm_fast, fast_orders
from .dpmpp_2m import dpmpp_2m
from .dpmpp_2m_sde import dpmpp_2m_sde
from .dpmpp_2m_sde_heun import dpmpp_2m_sde_heun
from .dpmpp_2s_ancestral import dpmpp_2s_ancestral
from .dpmpp_3m_sde import dpmpp_3m_sde
from .dpmpp_sde import dpmpp_sde
from .euler import euler
from .euler_ancestral import euler_ancestral
from .heun import heun
from .lcm import lcm
from .lms import lms
from .plms import plms
from .restart import restart, restart_steps
from .step import Churn, Step, StepNoise, ancestral_step
from .unipc import unipc

__all__ = [
    "GUIDANCE_SHARE",
    "Churn",
    "Step",
    "StepNoise",
    "ancestral_step",
    "ddim",
    "ddim_cfgpp",
    "dpm2",
    "dpm2_ancestral",
    "dpm_adaptive",
    "dpm_fast",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun",
    "dpmpp_2s_ancestral",
    "dpmpp_3m_sde",
    "dpmpp_sde",
    "euler",
    "euler_ancestral",
    "fast_orders",
    "heun",
    "lcm",
    "lms",
    "plms",
    "restart",
    "restart_steps",
    "unipc",
]
