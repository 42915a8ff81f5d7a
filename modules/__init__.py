"""Tagbrush: a WebUI for Stable Diffusion. The packages stand in rows; see the README."""

__version__ = "0.1.0"
