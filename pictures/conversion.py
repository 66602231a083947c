"""Pillow images of any mode to colours of 8 bits, L or RGB, and alpha."""

import functools
import io

import numpy as np
from PIL import Image, ImageChops, ImageCms

from pictures import levels, pillow, profiles, tone
from pictures.fill import fill
from pictures.pillow import PictureError

BAND = 256  # rows that are looked at together
NEARLY = 2  # levels by which the channels of a gray picture may differ: no eye sees so little colour
CUBE = 17  # colours on each side of those that tell whether a profile is one of sRGB


def to_8_bit(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """The image in a mode of 8 bits a sample, for the curve of sRGB or with the ICC profile that is returned.

    Raises PictureError.
    """
    icc = profiles.of(image)
    if image.mode == "CMYK":
        return _cmyk_to_rgb(image, icc), None  # the profile speaks of inks that are gone
    if image.mode == "LAB":
        return image.convert("RGB"), None
    return (levels.to_8_bit(image) if levels.are_deep(image) else image), icc


def split(image: Image.Image, keep_hidden: bool = False) -> tuple[Image.Image, Image.Image | None]:
    """The colours, L or RGB, and the alpha, L, of an image; None where it is opaque everywhere.

    Colours that are fully transparent, which nobody sees, continue those beside them unless `keep_hidden`.
    Raises PictureError for a mode that has no RGB.
    """
    one_channel, alpha = image.mode in ("1", "L", "LA", "La"), None
    try:
        if image.has_transparency_data:
            image = image if image.mode in ("LA", "RGBA") else image.convert("LA" if one_channel else "RGBA")
            alpha = image.getchannel("A")
        # A copy of a large picture is large, so that none is made where none is needed.
        if image.mode not in ("L", "RGB"):
            image = image.convert("L" if one_channel else "RGB")
    except (ValueError, AssertionError) as error:  # the latter where a damaged image lacks its palette
        raise PictureError(f"an image of mode {image.mode} that cannot be made RGB") from error
    colours = tone.apply(image)
    if alpha is None or alpha.getextrema()[0] == 255:
        return colours, None
    is_filled = alpha.getextrema()[0] == 0 and not keep_hidden
    return (_filled(colours, alpha) if is_filled else colours), alpha


def _filled(colours, alpha):
    rgb = np.asarray(colours.convert("RGB"))
    return Image.fromarray(fill(rgb, np.asarray(alpha) > 0)).convert(colours.mode)


def to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """An image, L, LA, RGB or RGBA, in the colours of sRGB; as it is where its profile cannot be used."""
    colours = image.convert(image.mode.removesuffix("A"))
    changed = colours if is_srgb(icc) else _through_profile(colours, icc)
    if changed is None:
        return image
    changed = changed.convert(colours.mode)
    if image.mode.endswith("A"):
        changed.putalpha(image.getchannel("A"))
    changed.info = {name: content for name, content in image.info.items() if name != "icc_profile"}
    return changed


@functools.lru_cache(maxsize=4)
def is_srgb(icc: bytes) -> bool:
    """Whether a profile shows all colours as sRGB does, within the level by which its profiles differ."""
    levels_of_side = np.linspace(0, 255, CUBE).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(*[levels_of_side] * 3), 3)  # (CUBE, CUBE, CUBE, 3)
    colours = Image.fromarray(cube.reshape(CUBE, -1, 3))
    shown = _through_profile(colours, icc)
    if shown is None:
        return False
    return all(most <= 1 for _, most in ImageChops.difference(shown, colours).getextrema())


def _cmyk_to_rgb(image, icc):
    """Through the embedded profile where there is a usable one."""
    return (icc and _through_profile(image, icc)) or image.convert("RGB")


def _through_profile(image, icc):
    """The image in sRGB, mode RGB, or None if its profile is damaged or for another mode."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def is_gray(image: Image.Image) -> bool:
    """Whether all channels of an RGB image are nearly alike; band by band, as a whole copy may be large."""
    width, height = image.size
    boxes = ((0, top, width, min(top + BAND, height)) for top in range(0, height, BAND))
    return all(_is_gray(*pillow.crop(image, box).split()) for box in boxes)


def _is_gray(red, green, blue):
    pairs = (red, green), (red, blue), (green, blue)
    return all(ImageChops.difference(*pair).getextrema()[1] <= NEARLY for pair in pairs)
