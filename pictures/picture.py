"""Any Pillow image to 8-bit RGB and what goes with it, and back.

The codec compresses colours; alpha is kept losslessly beside them, ICC profile, EXIF and XMP as they are. A
profile of sRGB, mostly 3 kB in a file, is kept as its name.
"""

import dataclasses

import numpy as np
from PIL import Image

from coding.container import SRGB, Metadata
from pictures import conversion, extras, pillow, profiles


@dataclasses.dataclass(frozen=True)
class Picture:
    """What the codec sees of an image: its colours, in mode L or RGB, and what goes with it."""

    colours: Image.Image
    metadata: Metadata

    @classmethod
    def from_image(cls, image: Image.Image, keep_hidden: bool = False) -> "Picture":
        """The picture in a Pillow image of any mode, EXIF orientation applied. Raises PictureError.

        keep_hidden: keep colours that are fully transparent
        """
        with pillow.limits():
            resolution = extras.resolution_of(image)
            image, exif = extras.upright(image)
            xmp = extras.xmp_of(image)
            image, icc = conversion.to_8_bit(image)
            icc = SRGB if icc and conversion.is_srgb(icc) else icc
            colours, alpha = conversion.split(image, keep_hidden)
        one_channel = colours.mode == "L"
        gray = one_channel or conversion.is_gray(colours)
        png = None if alpha is None else extras.to_png(alpha)
        return cls(colours, Metadata(*image.size, gray, one_channel, png, icc, exif, xmp, resolution))

    def window(self, rows: slice, columns: slice) -> np.ndarray:
        """Pixels uint8 (h, w, 3) of rows and columns; the last ones are repeated outside the picture."""
        right, bottom = min(columns.stop, self.colours.width), min(rows.stop, self.colours.height)
        pixels = pillow.crop(self.colours, (columns.start, rows.start, right, bottom)).convert("RGB")
        outside = (0, rows.stop - bottom), (0, columns.stop - right), (0, 0)
        return np.pad(np.asarray(pixels), outside, "edge")


def to_image(rgb: np.ndarray, metadata: Metadata) -> Image.Image:
    """The Pillow image, L, LA, RGB or RGBA, of pixels uint8 (H, W, 3) and what goes with them.

    Raises PictureError if alpha or EXIF is damaged.
    """
    image = Image.fromarray(rgb)
    if metadata.one_channel:
        image = image.getchannel("R")
    if metadata.alpha is not None:
        extras.put_alpha(image, metadata.alpha)
    image.info |= info_of(metadata)
    return image


def info_of(metadata: Metadata) -> dict:
    """The `info` of a Pillow image: ICC profile, EXIF, XMP and resolution. Raises PictureError for damage."""
    info = {}
    if metadata.icc is not None:
        is_named = metadata.icc == SRGB
        info["icc_profile"] = profiles.make(profiles.SRGB, None) if is_named else metadata.icc
    if metadata.exif:
        info["exif"] = extras.checked_exif(metadata.exif)
    if metadata.xmp:
        info["xmp"] = metadata.xmp
    if metadata.resolution:
        info["dpi"] = metadata.resolution
    return info


def stripped(image: Image.Image, keep_hidden: bool = False) -> Image.Image:
    """The image, L, LA, RGB or RGBA, upright and in the colours of sRGB, without anything else.

    A profile that cannot be used stays. keep_hidden: as of a Picture. Raises PictureError.
    """
    image, _ = extras.upright(image)
    image, icc = conversion.to_8_bit(image)
    colours, alpha = conversion.split(image, keep_hidden)
    changed = conversion.to_srgb(colours, icc) if icc else colours
    result = changed.copy()
    result.info = {"icc_profile": icc} if icc and changed is colours else {}
    if alpha is not None:
        result.putalpha(alpha)
    return result


def pixels(image: Image.Image) -> Image.Image:
    """What the codec sees of a Pillow image, as an image, L or RGB: upright, without alpha and metadata.

    Raises PictureError.
    """
    return Picture.from_image(image).colours
