"""Colours for pixels that have none of their own: nobody sees them, so that they shall cost no bits.

Pull-push: means of known pixels are pulled up a pyramid of halved pictures until all is known, and pushed
down again into what is unknown (Gortler and others, The Lumigraph, 1996).
"""

import numpy as np
from PIL import Image

BAND = 512  # rows of the picture that are worked on together, an even number


def fill(rgb: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Pixels uint8 (H, W, 3): those of `rgb` where they are known, and between them a smooth transition.

    rgb: uint8 (H, W, 3), of any values where they are unknown
    known: bool (H, W); where no pixel is known, all are black

    Returns `rgb` itself where all are known.
    """
    if known.all():
        return rgb
    height, width = known.shape
    bands = [slice(top, min(top + BAND, height)) for top in range(0, height, BAND)]
    halves = [np.asarray(_halve(Image.fromarray(rgb[rows]), _mask(known[rows]))) for rows in bands]
    coarse = _push(_pull(Image.fromarray(np.concatenate(halves))))

    filled = rgb.copy()
    for rows in bands:
        if not known[rows].all():
            box = (0, rows.start / 2, width / 2, rows.stop / 2)
            size = (width, rows.stop - rows.start)
            filled[rows] = _over(rgb[rows], known[rows], coarse.resize(size, Image.Resampling.BILINEAR, box))
    return filled


def _over(rgb, known, smooth):
    smooth.paste(Image.fromarray(rgb), mask=_mask(known))
    return np.asarray(smooth)


def _mask(known):
    return Image.fromarray(known.view(np.uint8) * np.uint8(255))


def _pull(image):
    """RGBA images, each half as large as the one before, until all is known or one pixel is left."""
    levels = [image]
    while levels[-1].getextrema()[3][0] == 0 and max(levels[-1].size) > 1:
        levels.append(_halve(levels[-1], levels[-1].getchannel("A")))
    return levels


def _halve(image, known):
    """An image of half the size, RGBA: means of known pixels, and alpha 255 where any was known, else 0."""
    image.putalpha(known)
    smaller = image.reduce(2)  # which weighs by alpha
    smaller.putalpha(smaller.getchannel("A").point(lambda alpha: 255 * (alpha > 0)))
    return smaller


def _push(levels):
    """The first of the levels, RGB, with all pixels known."""
    smooth = levels[-1].convert("RGB")
    for level in reversed(levels[:-1]):
        box = (0, 0, level.width / 2, level.height / 2)
        smooth = smooth.resize(level.size, Image.Resampling.BILINEAR, box)
        smooth.paste(level.convert("RGB"), mask=level.getchannel("A"))
    return smooth
