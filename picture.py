"""Any Pillow image to 8-bit RGB and what goes with it, and back.

The codec compresses colours; alpha is kept losslessly beside them, ICC profile and EXIF as they are.
"""
import dataclasses
import io
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError


class PictureError(ValueError):
    """An image that cannot be taken; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """rgb: uint8 (H, W, 3); gray: the three are equal; one_channel: they came as one;
    alpha: PNG file of the alpha plane; icc, exif: their bytes. The last three may be None."""
    rgb: np.ndarray
    gray: bool
    one_channel: bool
    alpha: bytes | None
    icc: bytes | None
    exif: bytes | None


def read(path):
    """Open the image file `path`; raises PictureError or OSError if it is none or damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # readers warn of what they then repair
            image = Image.open(path)
            image.load()
    except UnidentifiedImageError as error:
        raise PictureError(f"{path}: not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: the image is too large") from error
    except (SyntaxError, ValueError, EOFError, IndexError) as error:  # what Pillow's readers raise on damage
        raise PictureError(f"{path}: the image is damaged ({error})") from error
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
    return image


def split(image):
    """The `Picture` in a Pillow image of any mode, EXIF orientation applied. Raises PictureError."""
    image = ImageOps.exif_transpose(image)
    exif, icc = image.getexif(), image.info.get("icc_profile")
    if image.mode == "CMYK":
        image, icc = _cmyk_to_rgb(image, icc), None  # the profile speaks of inks that are gone
    image = _to_8_bit(image)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA")
        plane = io.BytesIO()
        image.getchannel("A").save(plane, "PNG", optimize=True)
        alpha = plane.getvalue()
    one_channel = image.mode in ("1", "L", "LA")
    try:
        rgb = np.asarray(image.convert("RGB"))
    except ValueError as error:
        raise PictureError(f"images of mode {image.mode} are not supported") from error
    gray = one_channel or bool((rgb == rgb[:, :, :1]).all())
    return Picture(rgb, gray, one_channel, alpha, icc or None, exif.tobytes() if exif else None)


def join(picture):
    """The Pillow image, L, LA, RGB or RGBA, of a `Picture`. Raises PictureError if its alpha is damaged."""
    image = Image.fromarray(picture.rgb)
    if picture.one_channel:
        image = image.getchannel("R")
    if picture.alpha is not None:
        try:
            plane = Image.open(io.BytesIO(picture.alpha), formats=["PNG"])
            if plane.mode != "L" or plane.size != image.size:
                raise ValueError("wrong mode or size")
            image.putalpha(plane)
        except Exception as error:  # Pillow's reader can fail in any way on damaged bytes
            raise PictureError("the alpha plane is damaged") from error
    if picture.icc:
        image.info["icc_profile"] = picture.icc
    if picture.exif:
        image.info["exif"] = picture.exif
    return image


def pad(rgb, multiple):
    """Repeat the last row and column of pixels (H, W, 3) until H and W are multiples of `multiple`."""
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, -height % multiple), (0, -width % multiple), (0, 0)), "edge")


def _to_8_bit(image):
    """Bring gray images of 16 bits or floats, which Pillow would clip, to mode L."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    return image.convert("L") if image.mode == "F" else image


def _cmyk_to_rgb(image, icc):
    """Through the embedded profile where there is a usable one."""
    if icc:
        try:
            return ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                                             ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")
