"""Where the server of a data folder is to be found: a small file beside its queue, there while it runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

PATIENCE = 3.0
"""Seconds that a server on this machine gets to answer."""


def address_file(data_dir: Path) -> Path:
    return data_dir / "tagbrush.db.address"


def tell(data_dir: Path, url: str) -> None:
    """Say that the server of this folder is at `url`, if the folder can be written."""
    with suppress(OSError):
        address_file(data_dir).write_text(url, encoding="utf-8")


def withdraw(data_dir: Path) -> None:
    """Say that there is none any more."""
    with suppress(OSError):
        address_file(data_dir).unlink()


def running_on(data_dir: Path) -> str | None:
    """The address of the server that uses this folder; None if there is none, or one that died and left its address."""
    import httpx  # a server, which only tells its address, starts without it

    try:
        url = address_file(data_dir).read_text(encoding="utf-8").strip()
        # A certificate is made out to a name and not to this machine's own address; that is all it is asked here.
        httpx.get(f"{url}/tagbrush/v1/status", timeout=PATIENCE, trust_env=False, verify=False)
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL):
        return None
    return url
