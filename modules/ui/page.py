"""The page: gradio lays out controls; everything that lives while pictures are made is our own (javascript/)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from modules.catalogue import Catalogue, StyleFiles
from modules.images import MAX_BYTES
from modules.jobs import Jobs
from modules.params import read_ui_config

from .form import SETTINGS, Form
from .handlers import Handlers, Native
from .starting import with_painting
from .theme import theme

if TYPE_CHECKING:
    from fastapi import FastAPI

REFRESH = "\U0001f504"
CARD_TABS = (
    ("Textual Inversion", "embedding", "textual_inversion"),
    ("Hypernetworks", "hypernetwork", "hypernetworks"),
    ("Checkpoints", "checkpoint", "checkpoints"),
    ("Lora", "lora", "lora"),
)
HEAD = """
<link rel="stylesheet" href="tagbrush/assets/css/tagbrush.css">
<link rel="icon" href="tagbrush/assets/css/brush.svg" type="image/svg+xml">
<script type="module" src="tagbrush/assets/javascript/main.js"></script>
"""
BRAND = '<span class="tb-brand"><img src="tagbrush/assets/css/brush.svg" alt="" width="28" height="28">Tagbrush</span>'
TYPED = """() => ['txt2img.prompt', 'txt2img.negative', 'img2img.prompt', 'img2img.negative']
    .map((box) => sessionStorage.getItem(`tagbrush.${box}`) ?? '')"""
SAY = "(text) => { if (text) window.tagbrush.say(text); }"
SESSIONS = 64
"""Page loads whose state gradio keeps; each takes 0.3 MB, of the controls' settings, and ends only by this number. An
older page that is still open loses nothing but which checkpoint its size and guidance followed."""

HIDDEN = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def mount(app: FastAPI, jobs: Jobs, catalogue: Catalogue, styles: StyleFiles, path: str = "/") -> gr.Blocks:
    """The page, mounted on `app` at `path`."""
    blocks = build(jobs, catalogue, styles)
    blocks.state_session_capacity = SESSIONS
    gr.mount_gradio_app(
        app,
        blocks,
        path,
        theme=theme(),
        head=HEAD,
        footer_links=[],
        show_error=True,
        ssr_mode=False,
        pwa=False,
        max_file_size=MAX_BYTES,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
    )
    return blocks


def build(jobs: Jobs, catalogue: Catalogue, styles: StyleFiles) -> gr.Blocks:
    """The page's controls and what they do."""
    handlers = Handlers(jobs, catalogue, styles)
    native = Native.of(handlers.checkpoint())
    begun = read_ui_config(catalogue.folders.ui_config)
    tasks = {"txt2img": begun.txt2img, "img2img": begun.img2img}
    with gr.Blocks(title="Tagbrush", analytics_enabled=False, fill_width=True) as blocks:
        with gr.Row(elem_classes="tb-header"):
            _html(BRAND, "tb-brand-box")
            checkpoint = _checkpoint_box(handlers)
            refresh = gr.Button(REFRESH, elem_id="refresh_sd_model_checkpoint", min_width=40)
            _html("<tb-worker></tb-worker>", "tb-worker-box")
        message = gr.Textbox(elem_classes="tb-handover", show_label=False, container=False)
        forms = []
        with gr.Tabs(elem_id="tabs"):
            for task, values in tasks.items():
                with gr.Tab(task, id=task, elem_id=f"tab_{task}", render_children=True):
                    forms.append(_task_tab(Form(task, native, values), handlers, checkpoint, message))
            with gr.Tab("PNG Info", id="pnginfo", elem_id="tab_pnginfo", render_children=True):
                _html("<tb-pnginfo></tb-pnginfo>", "tb-pnginfo-box")
        _follow_checkpoint(handlers, forms, checkpoint, refresh, message, blocks)
        _receive_picture(handlers, forms[1], message)
        prompts = [form.fields[name] for form in forms for name in ("prompt", "negative_prompt")]
        blocks.load(None, None, prompts, js=TYPED)
    return blocks


def _html(value: str, name: str) -> gr.HTML:
    return gr.HTML(
        value, elem_classes=["tb-html", name], padding=False, container=False, apply_default_css=False, js_on_load=None
    )


def _checkpoint_box(handlers: Handlers) -> gr.Dropdown:
    entry = handlers.checkpoint()
    return gr.Dropdown(
        choices=handlers.checkpoints(),
        value=entry.relative if entry else None,
        label="Stable Diffusion checkpoint",
        show_label=False,
        container=False,
        # A name typed in may be any that A1111 accepts (a hash, a part of the name), or a file that came a moment ago.
        allow_custom_value=True,
        elem_id="setting_sd_model_checkpoint",
    )


def _task_tab(form: Form, handlers: Handlers, checkpoint: gr.Dropdown, message: gr.Textbox) -> Form:
    task = form.task
    with gr.Row(elem_classes="tb-top"):
        with gr.Column(elem_classes="tb-prompts"):
            form.draw_prompts()
        with gr.Column(elem_classes="tb-run"):
            generate = gr.Button("Generate", variant="primary", elem_id=f"{task}_generate", elem_classes="tb-generate")
            with gr.Row():
                for name in ("Interrupt", "Skip"):  # our script enables them while there is something to stop
                    gr.Button(name, elem_id=f"{task}_{name.lower()}", elem_classes="tb-tool", interactive=False)
            with gr.Row():
                paste = gr.Button("Paste", elem_id=f"{task}_paste", elem_classes="tb-tool")
                clear = gr.Button("Clear", elem_id=f"{task}_clear_prompt", elem_classes="tb-tool")
            with gr.Row(elem_classes="tb-styles"):
                styles = form.add("styles", choices=handlers.styles(), show_label=False, container=False)
                apply = gr.Button("Apply", elem_id=f"{task}_style_apply", elem_classes="tb-tool")
    with gr.Row(elem_classes="tb-body"):
        with gr.Column(elem_classes="tb-left"), gr.Tabs(elem_id=f"{task}_extra_tabs", overflow_behavior="wrap"):
            with gr.Tab("Generation", elem_id=f"{task}_generation", elem_classes="tb-controls", render_children=True):
                form.draw_controls(handlers)
            for label, kind, name in CARD_TABS:
                with gr.Tab(label, elem_id=f"{task}_{name}", render_children=True):
                    _html(f'<tb-cards kind="{kind}" task="{task}"></tb-cards>', "tb-cards-box")
        with gr.Column(elem_classes="tb-right"):
            _html(f'<tb-results task="{task}"></tb-results>', "tb-results-box")
    prompts = [form.fields["prompt"], form.fields["negative_prompt"]]
    clear.click(None, outputs=prompts, js="() => ['', '']")

    def merge(names: list[str], prompt: str, negative_prompt: str) -> tuple[Any, ...]:
        return [], *handlers.with_styles(names, prompt, negative_prompt)

    for words in (*prompts, styles):  # whoever changes them: a person, a pasted text, a picture sent over
        words.change(None, js=f"() => window.tagbrush?.changed('{task}')", **HIDDEN)
    apply.click(merge, [styles, *prompts], [styles, *prompts], **HIDDEN)
    styles.focus(lambda: gr.Dropdown(choices=handlers.styles()), None, [styles], **HIDDEN)
    before = with_painting(form) if task == "img2img" else None
    generate.click(_submitter(form, handlers), form.components, [message], js=before, **HIDDEN).then(
        None, [message], js=SAY
    )
    _bind_paste(form, handlers, paste, checkpoint, message)
    return form


def _submitter(form: Form, handlers: Handlers) -> Callable[..., str]:
    def submit(*given: Any) -> str:
        return handlers.submit(form.task, *form.values(given))

    return submit


def _bind_paste(form: Form, handlers: Handlers, paste: gr.Button, checkpoint: gr.Dropdown, message: gr.Textbox) -> None:
    def fill(text: str) -> dict[Any, Any]:
        fields, settings, said = handlers.pasted(form.task, text)
        model = settings.pop("sd_model_checkpoint", None)
        if model:
            handlers.choose_checkpoint(model)
        updates = {form.fields[name]: value for name, value in fields.items() if name in form.fields}
        if "styles" in fields:
            updates[form.fields["styles"]] = gr.Dropdown(choices=handlers.styles(), value=fields["styles"])
        updates |= {form.settings[name]: settings.pop(name) for name in form.settings if name in settings}
        others = handlers.overrides(settings)
        updates[overrides] = gr.Dropdown(choices=others, value=others, visible=bool(others))
        return updates | ({checkpoint: model} if model else {}) | {message: said}

    overrides = form.inputs["overrides"]
    outputs = [*form.fields.values(), *form.settings.values(), overrides, checkpoint, message]
    paste.click(fill, [form.fields["prompt"]], outputs, **HIDDEN).then(None, [message], js=SAY)


def _follow_checkpoint(
    handlers: Handlers,
    forms: list[Form],
    checkpoint: gr.Dropdown,
    refresh: gr.Button,
    message: gr.Textbox,
    blocks: gr.Blocks,
) -> None:
    """Width, height and CFG follow the checkpoint as long as they still are what the one before it asked for."""
    followed = gr.State(forms[0].native)
    followers = [form.fields[name] for form in forms for name in ("width", "height", "cfg_scale")]

    def adapt(name: str | None, before: Native, *current: float) -> list[Any]:
        native = Native.of(handlers.checkpoint(name))
        old = (before.width, before.height, before.cfg_scale) * len(forms)
        new = (native.width, native.height, native.cfg_scale) * len(forms)
        return [native, *(n if value == o else gr.skip() for value, o, n in zip(current, old, new, strict=True))]

    def reread() -> Any:
        entry = handlers.checkpoint()
        return gr.Dropdown(choices=handlers.checkpoints(), value=entry.relative if entry else None)

    inputs, outputs = [checkpoint, followed, *followers], [followed, *followers]
    checkpoint.input(handlers.choose_checkpoint, [checkpoint], [message], **HIDDEN).then(None, [message], js=SAY)
    checkpoint.change(adapt, inputs, outputs, **HIDDEN)
    refresh.click(reread, None, [checkpoint], **HIDDEN)
    settings = [component for form in forms for component in form.settings.values()]
    blocks.load(reread, None, [checkpoint], **HIDDEN).then(adapt, inputs, outputs, **HIDDEN)
    blocks.load(lambda: list(handlers.defaults(SETTINGS).values()) * len(forms), None, settings, **HIDDEN)


def _receive_picture(handlers: Handlers, form: Form, message: gr.Textbox) -> None:
    """Send to img2img: the script names a picture, and the tab gets it with its prompts and settings."""
    source = gr.Textbox(elem_id="img2img_handover", elem_classes="tb-handover", show_label=False, container=False)
    receive = gr.Button("Receive", elem_id="img2img_receive", elem_classes="tb-handover")

    def fill(url: str) -> dict[Any, Any]:
        image, fields, said = handlers.received(url)
        updates = {form.fields[name]: value for name, value in fields.items() if name in form.fields}
        return updates | ({form.inputs["picture"]: image} if image else {}) | {message: said}

    outputs = [*form.fields.values(), form.inputs["picture"], message]
    receive.click(fill, [source], outputs, **HIDDEN).then(None, [message], js=SAY)
