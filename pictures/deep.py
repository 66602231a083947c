"""Colours of 16 bits, of which Pillow reads the high bytes: rounded to 8 bits.

The low bytes are what it reads where it is told that the bytes lie in the other order.
"""

import sys

import numpy as np
from PIL import Image, ImageFile

from pictures import pillow, tone

BAND = 256  # rows that are worked on together
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
GRAY_ALPHA = "LA;16B"  # which Pillow reads into RGBA, and knows in one order


def rawmode_of(image: ImageFile.ImageFile) -> str | None:
    """How colours of 16 bits lie in the file of an image that is open, but not loaded, or None."""
    if image.mode not in ("RGB", "RGBA", "LA"):
        return None
    rawmodes = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in image.tile}
    (rawmode,) = rawmodes if len(rawmodes) == 1 else (None,)
    return rawmode if isinstance(rawmode, str) and rawmode.endswith((";16B", ";16L", ";16N")) else None


def let_low(image: ImageFile.ImageFile) -> None:
    """Let an image of 16 bits, that is not loaded, load its low bytes; gray with alpha all its bytes."""
    image.tile = [tile._replace(args=_swapped(tile.args)) for tile in image.tile]


def _swapped(args):
    if isinstance(args, tuple):
        return (_swapped(args[0]), *args[1:])
    return "RGBA" if args == GRAY_ALPHA else args[:-1] + OTHER_ORDER[args[-1]]


def rounded(image: Image.Image, low: Image.Image, rawmode: str) -> Image.Image:
    """An image of high bytes, changed to rounded levels, L, LA, RGB or RGBA.

    A transparent colour becomes alpha, a gamma is applied; low: as `let_low` makes it.
    """
    gamma = tone.gamma_of(image)
    colours, linear = tone.table(1 << 16, gamma), tone.table(1 << 16)
    key = image.info.pop("transparency", None)
    alpha = Image.new("L", image.size, 255)
    for top in range(0, image.height, BAND):
        box = (0, top, image.width, min(top + BAND, image.height))
        samples = _samples(*(np.asarray(pillow.crop(part, box)) for part in (image, low)), rawmode)
        image.paste(Image.fromarray(colours[samples[:, :, :3]]), box)
        if key is not None:
            alpha.paste(Image.fromarray(np.where((samples == key).all(2), 0, 255).astype(np.uint8)), box)
        elif samples.shape[2] == 4:
            alpha.paste(Image.fromarray(linear[samples[:, :, 3]]), box)
    if key is not None or image.mode == "RGBA":
        image.putalpha(alpha)
    if gamma is not None:
        del image.info["gamma"]
    return image.convert("LA") if rawmode == GRAY_ALPHA else image


def _samples(high, low, rawmode):
    """Samples uint16 (h, w, 3 or 4) of bytes (h, w, 3 or 4)."""
    if rawmode == GRAY_ALPHA:  # low has the high and the low byte of gray, then those of alpha
        gray, alpha = (low[:, :, at].astype(np.uint16) << 8 | low[:, :, at + 1] for at in (0, 2))
        return np.dstack([gray, gray, gray, alpha])
    return high.astype(np.uint16) << 8 | low
