"""Colours of 16 bits, of which Pillow reads the high bytes: rounded to 8 bits.

The low bytes are what it reads where it is told that the bytes lie in the other order.
"""

import sys

import numpy as np
from PIL import Image, ImageFile

from pictures import pillow, tone

BAND = 256  # rows that are worked on together
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
MODES = ("RGB", "RGBA")


def holds(image: ImageFile.ImageFile) -> bool:
    """Whether the file of an image that is open, but not loaded, has colours of 16 bits."""
    return image.mode in MODES and all(";16" in _rawmode(tile) for tile in image.tile) and bool(image.tile)


def let_low(image: ImageFile.ImageFile) -> None:
    """Let an image that `holds` 16 bits, and is not loaded, load its low bytes."""
    image.tile = [tile._replace(args=_swapped(tile.args)) for tile in image.tile]


def _rawmode(tile):
    rawmode = tile.args if isinstance(tile.args, str) else tile.args[0]
    return rawmode if isinstance(rawmode, str) else ""


def _swapped(args):
    if isinstance(args, str):
        return args[:-1] + OTHER_ORDER[args[-1]]
    return (_swapped(args[0]), *args[1:])


def round_with(image: Image.Image, low: Image.Image) -> None:
    """Round an image of high bytes in place; a transparent colour becomes alpha, a gamma is applied.

    low: the image of the low bytes, of the same mode, RGB or RGBA
    """
    gamma = tone.gamma_of(image)
    colours, linear = tone.table(1 << 16, gamma), tone.table(1 << 16)
    key = image.info.pop("transparency", None)
    alpha = Image.new("L", image.size, 255)
    for top in range(0, image.height, BAND):
        box = (0, top, image.width, min(top + BAND, image.height))
        high_bytes, low_bytes = (np.asarray(pillow.crop(part, box)) for part in (image, low))
        values = high_bytes.astype(np.uint16) << 8 | low_bytes
        image.paste(Image.fromarray(colours[values[:, :, :3]]), box)
        if image.mode == "RGBA":
            alpha.paste(Image.fromarray(linear[values[:, :, 3]]), box)
        elif key is not None:
            alpha.paste(Image.fromarray(np.where((values == key).all(2), 0, 255).astype(np.uint8)), box)
    if key is not None or image.mode == "RGBA":
        image.putalpha(alpha)
    if gamma is not None:
        del image.info["gamma"]
