"""Noise sources, noise levels, guidance and samplers as functions: what lies between noise and a picture's latents."""

from .course import Course, SigmaCourse, TimestepCourse, ddim_timesteps, plot_course
from .guidance import Context, Guidance, Predict, Scheduled, needs_uncond
from .levels import NoiseLevels
from .noise import ImageNoise, Source
from .philox import Philox
from .samplers import Step
from .schedules import SCHEDULES, sigmas

__all__ = [
    "SCHEDULES",
    "Context",
    "Course",
    "Guidance",
    "ImageNoise",
    "NoiseLevels",
    "Philox",
    "Predict",
    "Scheduled",
    "SigmaCourse",
    "Source",
    "Step",
    "TimestepCourse",
    "ddim_timesteps",
    "needs_uncond",
    "plot_course",
    "sigmas",
]
