"""Any Pillow image to 8-bit RGB and what goes with it, and back.

The codec compresses colours; alpha is kept losslessly beside them, ICC profile and EXIF as they are.
"""

import dataclasses

import numpy as np
from PIL import Image

from coding.container import Metadata
from pictures import conversion, extras, pillow
from pictures.pillow import PictureError


@dataclasses.dataclass(frozen=True)
class Picture:
    """What the codec sees of an image: its colours, in mode L or RGB, and what goes with it."""

    colours: Image.Image
    metadata: Metadata

    @classmethod
    def from_image(cls, image: Image.Image) -> "Picture":
        """The picture in a Pillow image of any mode, EXIF orientation applied. Raises PictureError."""
        image, exif = extras.upright(image)
        icc = image.info.get("icc_profile")
        if image.mode == "CMYK":
            image, icc = conversion.cmyk_to_rgb(image, icc), None  # the profile speaks of inks that are gone
        image = conversion.to_8_bit(image)
        alpha = None
        try:
            if image.has_transparency_data:
                image = image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA")
                alpha = extras.to_png(image.getchannel("A"))
            one_channel = image.mode in ("1", "L", "LA")
            # A copy of a large picture is large, so that none is made where none is needed.
            colours = image if image.mode in ("L", "RGB") else image.convert("L" if one_channel else "RGB")
        except (ValueError, AssertionError) as error:  # the latter where a damaged image lacks its palette
            raise PictureError(f"an image of mode {image.mode} that cannot be made RGB") from error
        gray = one_channel or conversion.is_gray(colours)
        return cls(colours, Metadata(image.width, image.height, gray, one_channel, alpha, icc or None, exif))

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
    if metadata.icc:
        image.info["icc_profile"] = metadata.icc
    if metadata.exif:
        image.info["exif"] = extras.checked_exif(metadata.exif)
    return image


def pixels(image: Image.Image) -> Image.Image:
    """What the codec sees of a Pillow image, as an image, L or RGB: upright, without alpha and metadata.

    Raises PictureError.
    """
    return Picture.from_image(image).colours
