"""The controls of one task, and how their values become a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from modules.params import Img2ImgRequest, Settings, Txt2ImgRequest, parameters

from .controls import control, element_id
from .handlers import Handlers, Native

SETTINGS = ("CLIP_stop_at_last_layers", "randn_source", "emphasis")
DICE = "\U0001f3b2"
RECYCLE = "\u267b\ufe0f"


@dataclass
class Form:
    """The controls of a task by parameter name; `picture` is img2img's input."""

    task: str
    native: Native
    fields: dict[str, gr.components.Component] = field(default_factory=dict)
    settings: dict[str, gr.components.Component] = field(default_factory=dict)
    picture: gr.Image | None = None

    def __post_init__(self) -> None:
        self._request = parameters(Img2ImgRequest if self.task == "img2img" else Txt2ImgRequest)
        self._settings = parameters(Settings)

    @property
    def components(self) -> list[gr.components.Component]:
        """Everything a request is made of, in the order in which `values` reads it."""
        return [*self.fields.values(), *self.settings.values(), *([self.picture] if self.picture else [])]

    def values(self, given: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """What was given for `components`, sorted into fields, settings and the picture's file."""
        split = len(self.fields)
        fields = dict(zip(self.fields, given[:split], strict=True))
        settings = dict(zip(self.settings, given[split : split + len(self.settings)], strict=True))
        return fields, settings, given[-1] if self.picture else None

    def add(self, name: str, **options: Any) -> gr.components.Component:
        self.fields[name] = control(self._request[name], self.task, **options)
        return self.fields[name]

    def add_setting(self, name: str, **options: Any) -> gr.components.Component:
        self.settings[name] = control(self._settings[name], self.task, **options)
        return self.settings[name]

    def draw_prompts(self) -> None:
        shared = {"show_label": False, "container": False, "max_lines": 24}
        self.add("prompt", lines=3, placeholder="What do you want to see?", **shared)
        self.add("negative_prompt", lines=2, placeholder="What should not be in it?", **shared)

    def draw_controls(self, handlers: Handlers) -> None:
        """Everything under the tab Generation."""
        if self.task == "img2img":
            self._draw_picture()
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
        self._draw_seed()
        with gr.Accordion("More", open=False, elem_id=f"{self.task}_more"), gr.Row():
            for name, value in handlers.defaults(SETTINGS).items():
                self.add_setting(name, value=value)

    def _draw_picture(self) -> None:
        self.picture = gr.Image(
            label="Picture to start from",
            type="filepath",
            sources=["upload", "clipboard"],
            height=280,
            elem_id=element_id(self.task, "init_images"),
        )
        modes = [("Just resize", 0), ("Crop and resize", 1), ("Resize and fill", 2)]
        self.fields["resize_mode"] = gr.Radio(modes, value=0, label="Resize mode", elem_id="resize_mode")

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
