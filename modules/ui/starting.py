"""What img2img starts from: a picture, one with a painted mask, or one with a mask from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from modules.params import SoftInpainting, parameters

from .controls import element_id

if TYPE_CHECKING:
    from .form import Form

PAINTED = ("painted", "painted_mask", "start")
"""Inputs that the page's own script fills when Generate is pressed: two ids, and which of the tabs is open."""

INPAINTING = ("mask_blur", "inpainting_mask_invert", "inpainting_fill", "inpaint_full_res", "inpaint_full_res_padding")


def draw_start(form: Form) -> None:
    """The tabs img2img, Inpaint and Inpaint upload."""
    with gr.Tabs(elem_id="mode_img2img"):
        with gr.Tab("img2img", id="picture", elem_id="img2img_img2img_tab"):
            form.inputs["picture"] = _picture("Picture to start from", element_id("img2img", "init_images"))
        with gr.Tab("Inpaint", id="painted", elem_id="img2img_inpaint_tab", render_children=True):
            gr.HTML(
                "<tb-inpaint></tb-inpaint>",
                elem_classes=["tb-html"],
                padding=False,
                container=False,
                apply_default_css=False,
                js_on_load=None,
            )
        with gr.Tab("Inpaint upload", id="uploaded", elem_id="img2img_inpaint_upload_tab"), gr.Row():
            form.inputs["uploaded"] = _picture("Picture", "img_inpaint_base")
            form.inputs["uploaded_mask"] = _picture("Mask: white is made anew", "img_inpaint_mask")
    for name in PAINTED:
        form.inputs[name] = gr.Textbox(show_label=False, container=False, elem_classes="tb-handover")
    form.add("resize_mode")


def draw_inpainting(form: Form) -> None:
    """How the masked part is made anew."""
    with gr.Accordion("Inpainting", open=False, elem_id="inpaint_controls"):
        for name in INPAINTING:
            form.add(name)
        form.add("mask_round", label="Hard edge: each latent is inside or outside")
        with gr.Accordion("Soft inpainting", open=False, elem_id="soft_inpainting"):
            for name, parameter in parameters(SoftInpainting).items():
                form.add(name, info=parameter.help)


def with_painting(form: Form) -> str:
    """The script that puts the painted picture and mask, stored by then, among the values of the form."""
    return f"(...given) => window.tagbrush.withPainting(given, {form.components.index(form.inputs[PAINTED[0]])})"


def _picture(label: str, elem_id: str) -> gr.Image:
    options: dict[str, Any] = {"type": "filepath", "sources": ["upload", "clipboard"], "height": 280}
    return gr.Image(label=label, elem_id=elem_id, image_mode=None, **options)
