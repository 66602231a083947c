"""Any Pillow image to 8-bit RGB and what goes with it, and back.

The codec compresses colours; alpha is kept losslessly beside them, ICC profile and EXIF as they are.
"""
import contextlib
import dataclasses
import io
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from bitstream import MAX_PIXELS

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".ppm")  # of images in folders


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
        with _pillow():
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
    image, exif = _upright(image)
    icc = image.info.get("icc_profile")
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
    return Picture(rgb, gray, one_channel, alpha, icc or None, exif)


def join(picture):
    """The Pillow image, L, LA, RGB or RGBA, of a `Picture`. Raises PictureError if its alpha or EXIF is damaged."""
    image = Image.fromarray(picture.rgb)
    if picture.one_channel:
        image = image.getchannel("R")
    if picture.alpha is not None:
        try:
            with _pillow():
                plane = Image.open(io.BytesIO(picture.alpha), formats=["PNG"])
                if plane.mode != "L" or plane.size != image.size:
                    raise ValueError("wrong mode or size")
                image.putalpha(plane)
        except Exception as error:  # Pillow's reader can fail in any way on damaged bytes
            raise PictureError("the alpha plane is damaged") from error
    if picture.icc:
        image.info["icc_profile"] = picture.icc
    if picture.exif:
        try:
            with _pillow():
                exif = Image.Exif()
                exif.load(picture.exif)
                exif.tobytes()  # what cannot be read or written here would fail when the image is saved
        except Exception as error:
            raise PictureError("the EXIF data is damaged") from error
        image.info["exif"] = picture.exif
    return image


def pixels(image):
    """The Pillow image, L or RGB, of what the codec makes of the colours of `image`: upright, without alpha and metadata.
    Raises PictureError."""
    parts = split(image)
    rgb = Image.fromarray(parts.rgb)
    return rgb.getchannel("R") if parts.one_channel else rgb


def pad(rgb, multiple):
    """Repeat the last row and column of pixels (H, W, 3) until H and W are multiples of `multiple`."""
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, -height % multiple), (0, -width % multiple), (0, 0)), "edge")


@contextlib.contextmanager
def _pillow():
    """Let Pillow read what the format holds, in silence."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # it warns above, and refuses what is over twice as large
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # readers warn of what they then repair
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _upright(image):
    """The image with its EXIF orientation applied, and the bytes of its other EXIF tags or None.

    EXIF that cannot be read is dropped. The tags of a TIFF file tell how its pixels are stored, and are dropped too.
    """
    try:
        with _pillow():
            upright = ImageOps.exif_transpose(image)
            exif = upright.getexif()
            return upright, exif.tobytes() if exif else None
    except MemoryError:
        raise
    except Exception:  # Pillow's reader can fail in any way on damaged bytes
        return image, None


def _to_8_bit(image):
    """Bring gray images of 16 bits, which Pillow would clip, to mode L or LA, and those of floats, gray levels, to L."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        gray = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            gray.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return gray
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
