"""Scripts on the page: which one is chosen, and its controls, drawn from the declarations of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import gradio as gr

from modules.params import SD_UPSCALE, Group, SdUpscale, parameters

if TYPE_CHECKING:
    from .form import Form

GROUPS: Mapping[str, type[Group]] = MappingProxyType({SD_UPSCALE: SdUpscale})
"""The parameters of each script, by its name."""

EXPLAINED: Mapping[str, str] = MappingProxyType(
    {
        SD_UPSCALE: "The picture is enlarged by the scale factor, then redrawn in tiles of width x height: keep those "
        "at what the checkpoint draws well, and the denoising strength low (0.2 to 0.4). The batch size is the number "
        "of tiles drawn together, the batch count that of pictures. A mask is left out."
    }
)


def draw_scripts(form: Form) -> None:
    """The list of scripts, and under it the controls of the one that is chosen."""
    chosen = form.add("script", choices=[("None", ""), *GROUPS], elem_id="script_list")
    columns: dict[str, gr.Column] = {}
    for name, group in GROUPS.items():
        with gr.Column(visible=chosen.value == name, elem_id=f"script_{name.lower().replace(' ', '_')}") as column:
            gr.Markdown(EXPLAINED[name])
            for parameter in parameters(group):
                form.add(parameter)
        columns[name] = column

    def show(name: str | None) -> dict[Any, Any]:
        return {column: gr.Column(visible=known == name) for known, column in columns.items()}

    chosen.change(show, [chosen], [*columns.values()], queue=False, show_progress="hidden", api_visibility="private")
