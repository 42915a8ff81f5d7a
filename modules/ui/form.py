"""The controls of one task, and how their values become a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gradio as gr

from modules.params import Img2ImgRequest, Settings, Txt2ImgRequest, parameters

from .controls import control, with_same
from .handlers import Handlers, Native
from .scripts import draw_scripts
from .starting import draw_inpainting, draw_start

SETTINGS = ("CLIP_stop_at_last_layers", "randn_source", "emphasis")
DICE = "\U0001f3b2"
RECYCLE = "\u267b\ufe0f"
OF_CHECKPOINT = ("width", "height", "cfg_scale")
"""Begin with what the checkpoint was made for, and follow it."""
HIRES_SIZES = ("width", "height", "hr_scale", "hr_resize_x", "hr_resize_y")
HIRES_PASS = ("hr_sampler_name", "hr_scheduler")
HIRES_PROMPTS = ("hr_prompt", "hr_negative_prompt")


class Given(NamedTuple):
    """What the controls of a form hold."""

    fields: Mapping[str, Any]
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    """Pictures to start from, and settings that a pasted text asked for."""


@dataclass
class Form:
    """The controls of a task by parameter name; `inputs` are those that are no parameters."""

    task: str
    native: Native
    begun: Mapping[str, Any] = field(default_factory=dict)
    """What controls begin with in place of their usual value, by parameter (D064)."""
    fields: dict[str, gr.components.Component] = field(default_factory=dict)
    settings: dict[str, gr.components.Component] = field(default_factory=dict)
    inputs: dict[str, gr.components.Component] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._request = parameters(Img2ImgRequest if self.task == "img2img" else Txt2ImgRequest)
        self._settings = parameters(Settings)

    @property
    def components(self) -> list[gr.components.Component]:
        """Everything a request is made of, in the order in which `values` reads it."""
        return [*self.fields.values(), *self.settings.values(), *self.inputs.values()]

    def values(self, given: Sequence[Any]) -> Given:
        """What was given for `components`, sorted."""
        left = iter(given)
        return Given(*(dict(zip(group, left, strict=False)) for group in (self.fields, self.settings, self.inputs)))

    def add(self, name: str, **options: Any) -> gr.components.Component:
        if name in self.begun and name not in OF_CHECKPOINT:
            options["value"] = self.begun[name]
        self.fields[name] = control(self._request[name], self.task, **options)
        return self.fields[name]

    def add_setting(self, name: str, **options: Any) -> gr.components.Component:
        self.settings[name] = control(self._settings[name], self.task, **options)
        return self.settings[name]

    def draw_prompts(self) -> None:
        shared = {"show_label": False, "container": False, "max_lines": 24}
        self.add("prompt", lines=3, placeholder="What do you want to see?", **shared)
        self.add("negative_prompt", lines=3, placeholder="What should not be in it?", **shared)

    def draw_controls(self, handlers: Handlers) -> None:
        """Everything under the tab Generation."""
        if self.task == "img2img":
            draw_start(self)
        with gr.Row():
            self.add("sampler_name")
            self.add("scheduler")
        self.add("steps")
        self._draw_size()
        with gr.Row():
            self.add("n_iter")
            self.add("batch_size")
        self.add("cfg_scale", value=self.native.cfg_scale)
        if self.task == "img2img":
            self.add("denoising_strength")
            draw_inpainting(self)
        self._draw_seed()
        if self.task == "txt2img":
            self._draw_hires(handlers)
        self._draw_refiner(handlers)
        if self.task == "img2img":
            draw_scripts(self)
        with gr.Accordion("More", open=False, elem_id=f"{self.task}_more"):
            with gr.Row():
                for name, value in handlers.defaults(SETTINGS).items():
                    self.add_setting(name, value=value)
            with gr.Row():
                self.add("tiling")
                if self.task == "img2img":
                    self.add("image_cfg_scale", value=1.5)
        self.inputs["overrides"] = gr.Dropdown(
            choices=[],
            value=[],
            multiselect=True,
            visible=False,
            label="Settings of the pasted text, for this page's pictures",
            elem_id=f"{self.task}_override_settings",
        )

    def _draw_size(self) -> None:
        with gr.Row():
            with gr.Column(scale=8):
                width = self.add("width", value=self.native.width)
                height = self.add("height", value=self.native.height)
            swap = gr.Button("\u21c5", elem_id=f"{self.task}_res_switch_btn", elem_classes="tb-swap", scale=1)
        swap.click(None, inputs=[width, height], outputs=[width, height], js="(width, height) => [height, width]")

    def _draw_seed(self) -> None:
        with gr.Row(elem_classes="tb-seed-tools"):
            seed = self.add("seed", scale=8)
            dice = gr.Button(DICE, elem_id=f"{self.task}_random_seed", scale=1)
            recycle = gr.Button(RECYCLE, elem_id=f"{self.task}_reuse_seed", scale=1)
        dice.click(None, outputs=[seed], js="() => -1")
        recycle.click(None, js=f"() => window.tagbrush.reuseSeed('{self.task}')")
        with gr.Accordion("Variations of a seed", open=False, elem_id=f"{self.task}_subseed_show"):
            with gr.Row():
                self.add("subseed")
                self.add("subseed_strength")
            with gr.Row():
                self.add("seed_resize_from_w")
                self.add("seed_resize_from_h")

    def _draw_hires(self, handlers: Handlers) -> None:
        with gr.Accordion("Hires. fix: a second pass at a larger size", open=False, elem_id="txt2img_hr"):
            with gr.Row(elem_classes="tb-hires-head"):
                self.add("enable_hr", label="On")
                told = gr.Markdown(elem_id="txt2img_hr_finalres")
            with gr.Row():
                self.add("hr_upscaler")
                self.add("hr_second_pass_steps")
            with gr.Row():
                self.add("denoising_strength")
                self.add("hr_scale")
            with gr.Row():
                self.add("hr_resize_x")
                self.add("hr_resize_y")
            with gr.Row():
                self.add("hr_checkpoint_name", choices=[("The same", ""), *handlers.checkpoints()])
                for name, choices in zip(HIRES_PASS, ("samplers", "schedules"), strict=True):
                    self.add(name, choices=with_same(choices))
            for name in HIRES_PROMPTS:
                self.add(name, lines=1, placeholder="Empty: the same as above")
        sizes = [self.fields[name] for name in HIRES_SIZES]
        gr.on(
            [size.change for size in sizes],
            handlers.hires_text,
            sizes,
            told,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        told.value = handlers.hires_text(*(size.value for size in sizes))

    def _draw_refiner(self, handlers: Handlers) -> None:
        title = "Refiner: another checkpoint for the last steps"
        with gr.Accordion(title, open=False, elem_id=f"{self.task}_refiner"), gr.Row():
            self.add("refiner_checkpoint", choices=[("None", ""), *handlers.checkpoints()])
            self.add("refiner_switch_at")
