"""Gradio controls made from the declarations of parameters: there is no second list of labels or limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from modules.params import SAMPLERS, SCHEDULES, Param

# Where A1111's element id differs from the parameter's name; extensions and users' scripts know these.
ELEMENT_IDS = {
    "sampler_name": "sampling",
    "n_iter": "batch_count",
    "negative_prompt": "neg_prompt",
    "CLIP_stop_at_last_layers": "clip_skip",
    "init_images": "image",
    "hr_second_pass_steps": "hires_steps",
    "inpainting_mask_invert": "mask_mode",
}

CHOICES = {
    "samplers": tuple(sampler.name for sampler in SAMPLERS),
    "schedules": tuple(schedule.label for schedule in SCHEDULES),
}
SEGMENTS = 4
"""Named numbers up to this many lie side by side; more are a list."""


def element_id(task: str, name: str) -> str:
    return f"{task}_{ELEMENT_IDS.get(name, name)}"


def control(param: Param, task: str, **options: Any) -> gr.components.Component:
    """The control a declaration asks for: a list for choices, a slider for a range, else a box of the value's type."""
    shared: dict[str, Any] = {
        "label": param.label,
        "value": param.default,
        "elem_id": element_id(task, param.name),
        "interactive": True,
    }
    shared |= options
    if param.names:
        named = [(name, number) for number, name in enumerate(param.names)]
        return gr.Radio(named, **shared) if len(named) <= SEGMENTS else gr.Dropdown(named, **shared)
    if param.choices is not None:
        return gr.Dropdown(**({"choices": _choices(param.choices)} | shared))
    if param.kind is tuple:
        return gr.Dropdown(**({"multiselect": True, "choices": []} | shared | {"value": list(shared["value"])}))
    if param.ui is not None:
        minimum, maximum, *step = param.ui
        return gr.Slider(minimum=minimum, maximum=maximum, step=step[0] if step else None, **shared)
    if param.kind is bool:
        return gr.Checkbox(**shared)
    if param.kind is int:
        return gr.Number(precision=0, **shared)
    return gr.Textbox(**shared)


def with_same(name: str) -> list[tuple[str, str]]:
    """The choices of a list known by name, and before them the one that means no choice of its own."""
    return [("The same", ""), *((choice, choice) for choice in CHOICES[name])]


def _choices(choices: str | Sequence[str]) -> list[str]:
    """Those of a list; one that depends on the files there are is given by `choices=` where the control is drawn."""
    return list(CHOICES.get(choices, ())) if isinstance(choices, str) else list(choices)
