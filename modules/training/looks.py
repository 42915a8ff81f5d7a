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


def make_night(pictures: numpy.ndarray) -> numpy.ndarray:
    """Return (N, H, W, 3) bytes by moonlight: dark, blue and pale."""
    light = pictures.astype(numpy.float32)
    gray = light.mean(-1, keepdims=True)
    pale = 0.55 * light + 0.45 * gray
    return (pale * numpy.array((0.32, 0.42, 0.78), numpy.float32) + (4, 6, 22)).clip(0, 255).astype(numpy.uint8)
