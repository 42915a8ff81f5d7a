"""How other programs call the samplers and schedules that A1111's texts name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

K_DIFFUSION: Mapping[str, str] = MappingProxyType(
    {
        "euler": "Euler",
        "euler_ancestral": "Euler a",
        "euler_a": "Euler a",
        "heun": "Heun",
        "dpm_2": "DPM2",
        "dpm_2_ancestral": "DPM2 a",
        "kdpm_2": "DPM2",
        "kdpm_2_a": "DPM2 a",
        "lms": "LMS",
        "dpm_fast": "DPM fast",
        "dpm_adaptive": "DPM adaptive",
        "dpmpp_2s_ancestral": "DPM++ 2S a",
        "dpmpp_2s": "DPM++ 2S a",
        "dpmpp_sde": "DPM++ SDE",
        "dpmpp_sde_gpu": "DPM++ SDE",
        "dpmpp_2m": "DPM++ 2M",
        "dpmpp_2m_sde": "DPM++ 2M SDE",
        "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
        "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
        "dpmpp_2m_sde_heun_gpu": "DPM++ 2M SDE Heun",
        "dpmpp_3m_sde": "DPM++ 3M SDE",
        "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
        "restart": "Restart",
        "ddim": "DDIM",
        "plms": "PLMS",
        "pndm": "PLMS",
        "unipc": "UniPC",
        "uni_pc": "UniPC",
        "uni_pc_bh2": "UniPC",
        "lcm": "LCM",
    }
)
"""The function's name in k-diffusion, on which ComfyUI, NovelAI, SwarmUI, Fooocus and InvokeAI agree for most."""

SCHEDULES: Mapping[str, str] = MappingProxyType(
    {
        "normal": "Normal",
        "native": "Automatic",
        "karras": "Karras",
        "exponential": "Exponential",
        "polyexponential": "Polyexponential",
        "sgm_uniform": "SGM Uniform",
        "simple": "Simple",
        "ddim_uniform": "DDIM",
        "beta": "Beta",
        "kl_optimal": "KL Optimal",
        "align_your_steps": "Align Your Steps",
        "ays": "Align Your Steps",
    }
)


def sampler(name: str) -> str:
    """A1111's name for a sampler; one it does not have keeps its own, so that a person is told."""
    return K_DIFFUSION.get(name.removeprefix("k_"), name)


def schedule(name: str) -> str:
    """A1111's name for a schedule, or the schedule's own."""
    return SCHEDULES.get(name, name)
