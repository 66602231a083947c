"""The picture that is measured: lena, mirrored until it is as large as asked."""

import os

import numpy as np
from PIL import Image

from evaluation.bench.launch import TOP

NAME = "resources/test_images/lena.png"
MULTIPLE = 64  # pixels, so that no codec pads


def side(megapixels: float) -> int:
    """Pixels to a side of the square of about 10^6 times `megapixels`: a multiple of 64."""
    return max(1, round((megapixels * 1e6) ** 0.5 / MULTIPLE)) * MULTIPLE


def make(megapixels: float) -> Image.Image:
    """The RGB square of that `side`; every second tile is mirrored, so that there is no edge between two.

    Deterministic: 512 pixels to a side are the photograph itself.
    """
    pixels = np.asarray(Image.open(os.path.join(TOP, NAME)).convert("RGB"))
    length = side(megapixels)
    for axis in 0, 1:
        pair = np.concatenate([pixels, np.flip(pixels, axis)], axis)
        pixels = np.take(pair, np.arange(length) % pair.shape[axis], axis)
    return Image.fromarray(pixels)
