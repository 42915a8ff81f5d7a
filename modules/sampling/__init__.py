"""Noise sources, noise levels, guidance and samplers as functions: what lies between noise and a picture's latents."""

from .blend import Blend, SoftBlend
from .context import Context, Predict
from .course import Course, SigmaCourse, TimestepCourse, ddim_timesteps, plot_course
from .denoisers import Denoiser, Guided, Perspective, Seen, View
from .guidance import Guidance, GuidanceOptions, Handover, Prompted, needs_uncond
from .levels import NoiseLevels
from .noise import ImageNoise, Source
from .options import SamplerOptions
from .passes import Scheduled
from .philox import Philox
from .samplers import Step
from .schedules import SCHEDULES, sigmas

__all__ = [
    "SCHEDULES",
    "Blend",
    "Context",
    "Course",
    "Denoiser",
    "Guidance",
    "GuidanceOptions",
    "Guided",
    "Handover",
    "ImageNoise",
    "NoiseLevels",
    "Perspective",
    "Philox",
    "Predict",
    "Prompted",
    "SamplerOptions",
    "Scheduled",
    "Seen",
    "SigmaCourse",
    "SoftBlend",
    "Source",
    "Step",
    "TimestepCourse",
    "View",
    "ddim_timesteps",
    "needs_uncond",
    "plot_course",
    "sigmas",
]
