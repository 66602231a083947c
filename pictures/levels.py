"""Gray samples of more than 8 bits, integers and floating-point numbers, to 8-bit levels."""

import logging
import math

import numpy as np
from PIL import Image

from pictures import pillow, tone
from pictures.pillow import PictureError

BAND = 256  # rows that are worked on together
NAMED = (340, 341), (280, 281)  # TIFF tags of the least and the largest value
BITS, SAMPLE_FORMAT = 258, 339  # TIFF tags
UNSIGNED = 1
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
FRACTIONS = 1.5  # floats up to here are parts of white, since a filter may have passed over 1
BYTES = 16  # floats from here on are levels up to 255
DARKEST = 1 / 16  # of the largest integer there is, which a picture of whole 32 bits reaches

logger = logging.getLogger(__name__)


def are_deep(image: Image.Image) -> bool:
    """Whether an image is gray, of more than 8 bits a sample."""
    return image.mode == "F" or image.mode.startswith("I")


def to_8_bit(image: Image.Image) -> Image.Image:
    """The image in L, or in LA if a level of it is transparent, of an image with deep samples.

    Tags of a TIFF file say what is black and what is white, or else the type and the range of the values.
    Raises PictureError where none of them does.
    """
    unsigned = image.mode == "I" and _tag(image, SAMPLE_FORMAT) == UNSIGNED and _tag(image, BITS) == 32
    bands = _Bands(image, np.uint32 if unsigned else None)
    black, white = _ends(image, bands, unsigned)
    _tell_of_clipping(bands, black, white)
    if _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:  # which Pillow heeds in images of 8 bits alone
        black, white = white, black
    levels, key = tone.table(1 << 16, tone.gamma_of(image)), image.info.get("transparency")
    keyed = isinstance(key, int)
    result = Image.new("LA" if keyed else "L", image.size)
    for top, values in bands:
        parts = ((values.astype(np.float64) - black) / (white - black)).clip(0, 1)
        gray = levels[np.rint(np.nan_to_num(parts) * 65535).astype(np.uint16)]
        if keyed:
            gray = np.dstack([gray, np.where(values == key, np.uint8(0), np.uint8(255))])
        result.paste(Image.fromarray(gray), (0, top))
    result.info = {name: content for name, content in image.info.items() if name != "transparency"}
    result.info.pop("gamma", None)  # which has been applied
    return result


class _Bands:
    """The samples of an image, band by band, and what is said of all of them.

    lowest, highest: of the finite values; strange: how many are not finite
    """

    def __init__(self, image, dtype=None):
        self.image, self.dtype = image, dtype
        self.lowest, self.highest, self.strange = math.inf, -math.inf, 0
        for _, values in self:
            finite = values[np.isfinite(values)] if image.mode == "F" else values
            self.strange += values.size - finite.size
            if finite.size:
                self.lowest = min(self.lowest, finite.min().item())
                self.highest = max(self.highest, finite.max().item())
        if self.lowest > self.highest:
            self.lowest = self.highest = 0

    def __iter__(self):
        """The first row of a band and its samples, (h, W)."""
        for top in range(0, self.image.height, BAND):
            bottom = min(top + BAND, self.image.height)
            values = np.asarray(pillow.crop(self.image, (0, top, self.image.width, bottom)))
            yield top, values.view(self.dtype) if self.dtype else values


def _ends(image, bands, unsigned):
    """The values that are black and white."""
    if image.mode not in ("F", "I"):
        bits = _tag(image, BITS)
        return 0, 2 ** (bits if bits in range(9, 16) else 16) - 1
    for tags in NAMED:
        lowest, highest = (_tag(image, tag) for tag in tags)
        if highest is not None and (lowest or 0) < highest < math.inf:
            return lowest or 0, highest
    whites = _whites_of_floats(bands) if image.mode == "F" else _whites_of_integers(image, bands, unsigned)
    for white in whites:
        if bands.highest <= white and bands.lowest >= (-white / 4 if image.mode == "F" else 0):
            return 0, min(white, 1) if white == FRACTIONS else white
    raise PictureError(
        f"the values of the image go from {bands.lowest:g} to {bands.highest:g}, and no tag says "
        "what is black and white (SMinSampleValue and SMaxSampleValue)"
    )


def _whites_of_floats(bands):
    if bands.highest <= FRACTIONS:
        return (FRACTIONS,)
    return (255,) if bands.highest >= BYTES else ()


def _whites_of_integers(image, bands, unsigned):
    if image.format != "TIFF":
        return 65535, 2**31 - 1
    if _tag(image, BITS) == 16:
        return 255, 2**15 - 1
    largest = 2**32 - 1 if unsigned else 2**31 - 1
    return (255, 65535) + (largest,) * (bands.highest > DARKEST * largest)


def _tag(image, number):
    """The number that a TIFF tag holds, the first of several, or None."""
    value = getattr(image, "tag_v2", {}).get(number)
    value = value[0] if isinstance(value, tuple) and value else value
    try:
        return float(value) if number in sum(NAMED, ()) else int(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _tell_of_clipping(bands, black, white):
    if bands.strange:
        logger.warning("%d values are infinite or no numbers; they become black or white", bands.strange)
    if bands.lowest < black or bands.highest > white:
        logger.warning("values below %g and above %g become black and white", black, white)
