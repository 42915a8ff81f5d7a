"""Flags of how is computed and of what the owner keeps to himself: what they are called, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modules.engine.config import Sparing
from modules.params import Frozen, Settings, section_of

PRECISIONS = ("autocast", "half", "full")
THEMES = ("light", "dark")
LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class Computing:
    """How pictures are computed, where the device's own way is not wanted."""

    full_precision: bool = False
    full_precision_vae: bool = False
    checks_numbers: bool = True
    computes_hashes: bool = True
    sparing: Sparing = "never"
    preloads: bool = True
    """Whether the checkpoint is loaded before the first job asks for it."""


def add_computing(group: argparse._ArgumentGroup) -> None:
    """The flags of how is computed."""
    add = group.add_argument
    add("--no-half", "--all-in-fp32", dest="no_half", action="store_true",
        help="compute in full precision on a graphics card too: slower, twice the memory, and no overflow")  # fmt: skip
    add("--no-half-vae", "--vae-in-fp32", dest="no_half_vae", action="store_true", help="the same for the VAE alone")
    add("--precision", type=str.lower, choices=PRECISIONS, default="autocast", help="full: as --no-half")
    add("--disable-nan-check", action="store_true", help="show a black picture where the numbers overflow")
    add("--no-hashing", action="store_true", help="do not hash files: pictures' texts name models without their hashes")
    add("--medvram", "--lowvram", "--always-low-vram", "--always-no-vram", dest="medvram", action="store_true",
        help="for small cards: text encoders wait in main memory, pictures are decoded in strips; slower")  # fmt: skip
    add("--medvram-sdxl", action="store_true", help="the same for SDXL alone")
    add("--ui-debug-mode", "--skip-load-model-at-start", dest="late_model", action="store_true",
        help="load the checkpoint with the first picture, and not before")  # fmt: skip


def computing_of(arguments: argparse.Namespace) -> Computing:
    """What the flags say of it."""
    full = arguments.no_half or arguments.precision == "full"
    return Computing(
        full_precision=full,
        full_precision_vae=full or arguments.no_half_vae,
        checks_numbers=not (arguments.disable_nan_check or arguments.test_server),
        computes_hashes=not arguments.no_hashing,
        sparing="always" if arguments.medvram else "sdxl" if arguments.medvram_sdxl else "never",
        preloads=not arguments.late_model,
    )


def add_keeping(group: argparse._ArgumentGroup) -> None:
    """The flags of what only the owner decides."""
    add = group.add_argument
    add("--freeze-settings", action="store_true", help="let nobody change options, for one picture neither")
    add("--freeze-settings-in-sections", action="append", default=[], metavar="SECTIONS",
        help="the same for A1111's sections of them (saving-paths,sd)")  # fmt: skip
    add("--freeze-specific-settings", action="append", default=[], metavar="OPTIONS", help="the same for single ones")
    add("--hide-ui-dir-config", action="store_true", help="the same for the folders that pictures are saved in")
    add("--offline", action="store_true", help="connect to no other machine, whatever the options allow")
    add("--ui-settings-file", type=Path, metavar="FILE", help="options to begin with, instead of DATA_DIR/config.json")
    add("--ui-config-file", type=Path, metavar="FILE",
        help="what the controls begin with, instead of DATA_DIR/ui-config.json")  # fmt: skip
    add("--theme", type=str.lower, choices=THEMES, help="show the page light or dark, whatever the browser prefers")
    add("--dump-sysinfo", action="store_true", help="write what a report of a fault needs into a file, and end")
    add("--test-server", action="store_true", help="as A1111's tests start it: no browser, no check of numbers")


def frozen_of(arguments: argparse.Namespace, *, is_reached: bool) -> tuple[Frozen, list[str]]:
    """What nobody may change, and a line for each name that no option has.

    Where the server `is_reached` by others, limits are their owner's, who writes them into config.json. Raises nothing:
    a start script of A1111's may well name options that do not exist here.
    """
    options, no_options = _sorted_out(arguments.freeze_specific_settings, Settings.model_fields)
    known = dict.fromkeys(section_of(option) for option in Settings.model_fields)
    sections, no_sections = _sorted_out(arguments.freeze_settings_in_sections, known)
    notes = [f'--freeze-specific-settings: there is no option "{name}" here.' for name in no_options]
    notes += [f'--freeze-settings-in-sections: no option here is in a section "{name}".' for name in no_sections]
    frozen = Frozen.of(
        everything=arguments.freeze_settings,
        sections=sections,
        options=options,
        folders=arguments.hide_ui_dir_config,
        limits=is_reached,
    )
    return frozen, notes


def _sorted_out(lists: Iterable[str], known: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """The names in lists separated by commas: those that are known, and the others."""
    names = [name.strip() for text in lists for name in text.split(",") if name.strip()]
    return [name for name in names if name in known], [name for name in names if name not in known]
