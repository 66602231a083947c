"""Samples of any depth and gamma to 8 bits, for sRGB."""

import numpy as np
from PIL import Image

from pictures import profiles

ENOUGH = 0.05  # by which a gamma may differ from that of sRGB, as libavif has it
SRGB = 1 / 2.2


def gamma_of(image: Image.Image) -> float | None:
    """The exponent by which the samples were made of light, where they are to be changed.

    A profile says it itself.
    """
    gamma = image.info.get("gamma")
    if not gamma or "srgb" in image.info or abs(gamma - SRGB) < ENOUGH * SRGB or profiles.of(image):
        return None
    return gamma


def table(count: int, gamma: float | None = None) -> np.ndarray:
    """Levels uint8 (count,) of samples from 0 to count - 1, of sRGB or of a gamma."""
    values = np.arange(count) / (count - 1)
    if gamma is not None:
        light = values ** (1 / gamma)
        values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * values).astype(np.uint8)


def apply(image: Image.Image) -> Image.Image:
    """An 8-bit image, L or RGB, as it is, or of sRGB where its file names another gamma."""
    gamma = gamma_of(image)
    if gamma is None:
        return image
    return image.point(table(256, gamma).tolist() * len(image.getbands()))
