"""The page: gradio controls around our own live elements, speaking to the program through jobs and catalogue."""

from .page import build, mount

__all__ = ["build", "mount"]
