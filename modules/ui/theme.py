"""Gradio's look, mapped onto our own colour variables (css/tagbrush.css), so that both change together."""

from __future__ import annotations

import gradio as gr

_FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")

_VARIABLES = {
    "body_background_fill": "var(--tb-bg)",
    "body_text_color": "var(--tb-text)",
    "body_text_color_subdued": "var(--tb-muted)",
    "background_fill_primary": "var(--tb-panel)",
    "background_fill_secondary": "var(--tb-sunken)",
    "border_color_primary": "var(--tb-border)",
    "border_color_accent": "var(--tb-accent)",
    "color_accent": "var(--tb-accent)",
    "color_accent_soft": "var(--tb-accent-soft)",
    "block_background_fill": "var(--tb-panel)",
    "block_border_color": "var(--tb-border)",
    "block_label_background_fill": "var(--tb-panel)",
    "block_label_text_color": "var(--tb-muted)",
    "block_title_text_color": "var(--tb-muted)",
    "input_background_fill": "var(--tb-sunken)",
    "input_border_color": "var(--tb-border)",
    "input_border_color_focus": "var(--tb-accent)",
    "input_placeholder_color": "var(--tb-muted)",
    "button_primary_background_fill": "var(--tb-accent)",
    "button_primary_background_fill_hover": "var(--tb-accent-strong)",
    "button_primary_text_color": "var(--tb-on-accent)",
    "button_primary_border_color": "var(--tb-accent)",
    "button_secondary_background_fill": "var(--tb-panel)",
    "button_secondary_background_fill_hover": "var(--tb-sunken)",
    "button_secondary_text_color": "var(--tb-text)",
    "button_secondary_border_color": "var(--tb-border)",
    "slider_color": "var(--tb-accent)",
    "checkbox_background_color_selected": "var(--tb-accent)",
    "checkbox_border_color_selected": "var(--tb-accent)",
}

_WITHOUT_DARK = {"color_accent"}


def theme() -> gr.themes.Base:
    """The page's theme; no font and nothing else of it comes from the network."""
    both = _VARIABLES | {f"{name}_dark": value for name, value in _VARIABLES.items() if name not in _WITHOUT_DARK}
    base = gr.themes.Base(
        font=_FONT,
        font_mono=_MONO,
        primary_hue="orange",
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_sm,
    )
    return base.set(**both)
