"""Commands that make pictures from the shell: `webui.py txt2img` and `webui.py img2img`."""

from .make import main

__all__ = ["main"]
