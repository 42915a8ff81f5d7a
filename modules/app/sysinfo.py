"""What a report of a fault needs, in a file (A1111's --dump-sysinfo)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from modules.api.internal import sysinfo

from .assemble import assemble
from .options import Options


def dump_sysinfo(options: Options, folder: Path) -> Path:
    """The file written: system, versions, flags and options, without passwords. Raises BadFile as `assemble` does."""
    services = assemble(options)
    try:
        text = sysinfo(services).model_dump_json(indent=2, by_alias=True)
    finally:
        services.catalogue.close()
        services.jobs.close()
    path = folder / f"sysinfo-{datetime.now():%Y-%m-%d-%H-%M}.json"
    path.write_text(text, encoding="utf-8")
    return path
