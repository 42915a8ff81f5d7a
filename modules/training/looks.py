"""Looks that the example networks are taught: a picture in, the same picture in another light out."""

import numpy

SEPIA = ((0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131))  # the usual sepia matrix


def make_sepia(pictures: numpy.ndarray) -> numpy.ndarray:
    """Return (N, H, W, 3) bytes as an old photograph: brown tones and dark corners."""
    height, width = pictures.shape[1:3]
    down, across = numpy.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1.0 - 0.35 * numpy.clip((down**2 + across**2) - 0.5, 0, 1.5) / 1.5
    toned = pictures.astype(numpy.float32) @ numpy.array(SEPIA, numpy.float32).T * 0.85
    return (toned * vignette[..., None]).clip(0, 255).astype(numpy.uint8)


def make_dull(pictures: numpy.ndarray) -> numpy.ndarray:
    """Return (N, H, W, 3) bytes without contrast: nearly gray, in the middle tones."""
    light = pictures.astype(numpy.float32)
    gray = light.mean(-1, keepdims=True)
    return (0.25 * light + 0.25 * gray + 0.5 * 128).clip(0, 255).astype(numpy.uint8)
