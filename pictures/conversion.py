"""Pillow images of any mode to 8-bit gray or RGB."""

import io

import numpy as np
from PIL import Image, ImageCms

from pictures import pillow

BAND = 256  # rows that are looked at together


def to_8_bit(image: Image.Image) -> Image.Image:
    """Bring gray images of 16 bits, which Pillow would clip, to mode L or LA, and those of floats to L."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        gray = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            gray.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return gray
    return image.convert("L") if image.mode == "F" else image


def cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Through the embedded profile where there is a usable one."""
    if icc:
        try:
            return ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")


def is_gray(image: Image.Image) -> bool:
    """Whether all channels of an RGB image are alike; band by band, since a whole copy may be large."""
    bands = (pillow.crop(image, (0, top, image.width, top + BAND)) for top in range(0, image.height, BAND))
    return all((band == band[:, :, :1]).all() for band in map(np.asarray, bands))
