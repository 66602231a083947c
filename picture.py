"""Any Pillow image to 8-bit RGB and what goes with it, and back.

The codec compresses colours; alpha is kept losslessly beside them, ICC profile and EXIF as they are.
"""

import contextlib
import dataclasses
import io
import os
import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from coding.container import MAX_PIXELS, Metadata
from coding.errors import UserError
from coding.files import replacing

EXTENSIONS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".avif",
    ".bmp",
    ".tif",
    ".tiff",
    ".ppm",
)  # of images in folders


class PictureError(UserError):
    """An image that cannot be taken."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """What the codec sees of an image: rgb, uint8 (H, W, 3), and what goes with it."""

    rgb: np.ndarray
    metadata: Metadata

    @classmethod
    def from_image(cls, image: Image.Image) -> "Picture":
        """The picture in a Pillow image of any mode, EXIF orientation applied. Raises PictureError."""
        image, exif = _upright(image)
        icc = image.info.get("icc_profile")
        if image.mode == "CMYK":
            image, icc = _cmyk_to_rgb(image, icc), None  # the profile speaks of inks that are gone
        image = _to_8_bit(image)
        alpha = None
        if image.has_transparency_data:
            image = image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA")
            alpha = _to_png(image.getchannel("A"))
        one_channel = image.mode in ("1", "L", "LA")
        try:
            rgb = np.asarray(image.convert("RGB"))
        except ValueError as error:
            raise PictureError(f"images of mode {image.mode} are not supported") from error
        gray = one_channel or bool((rgb == rgb[:, :, :1]).all())
        return cls(rgb, Metadata(image.width, image.height, gray, one_channel, alpha, icc or None, exif))

    def to_image(self) -> Image.Image:
        """The Pillow image, L, LA, RGB or RGBA. Raises PictureError if alpha or EXIF is damaged."""
        image = Image.fromarray(self.rgb)
        if self.metadata.one_channel:
            image = image.getchannel("R")
        if self.metadata.alpha is not None:
            _put_alpha(image, self.metadata.alpha)
        if self.metadata.icc:
            image.info["icc_profile"] = self.metadata.icc
        if self.metadata.exif:
            image.info["exif"] = _checked_exif(self.metadata.exif)
        return image


def read(path: str, file: BinaryIO | None = None) -> Image.Image:
    """Open the image file `path`, or the open `file` of that name.

    Raises PictureError or OSError if it is none or damaged.
    """
    try:
        with _pillow():
            image = Image.open(file or path)
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


def check_writable(path: str) -> None:
    """Raise PictureError if `write` knows no format for the extension of `path`."""
    _format_of(path)


def write(image: Image.Image, path: str) -> None:
    """Write a Pillow image with its ICC profile and EXIF to `path`, whose extension chooses the format.

    Raises PictureError for an unknown extension or a picture that the format does not hold, and OSError.
    """
    format_name = _format_of(path)
    with replacing(path) as temporary:
        try:
            _save(image, temporary, format_name)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # Pillow's writers can fail in any way
            raise PictureError(f"{path}: the format cannot hold this picture ({error})") from error


def to_png(image: Image.Image) -> bytes:
    """A PNG file of a Pillow image, with its ICC profile and EXIF."""
    file = io.BytesIO()
    _save(image, file, "PNG")
    return file.getvalue()


def _save(image, file, format_name):
    kept = {key: image.info[key] for key in ("exif", "icc_profile") if key in image.info}
    image.save(file, format_name, quality=95, **kept)


def _format_of(path):
    """Pillow's name of the format that the extension of `path` stands for."""
    extension = os.path.splitext(path)[1].lower()
    name = Image.registered_extensions().get(extension)
    if name not in Image.SAVE:
        raise PictureError(f"{path}: cannot write images of type '{extension}'; try .png")
    return name


def pixels(image: Image.Image) -> Image.Image:
    """What the codec sees of a Pillow image, as an image, L or RGB: upright, without alpha and metadata.

    Raises PictureError.
    """
    picture = Picture.from_image(image)
    rgb = Image.fromarray(picture.rgb)
    return rgb.getchannel("R") if picture.metadata.one_channel else rgb


def _to_png(plane):
    file = io.BytesIO()
    plane.save(file, "PNG", optimize=True)
    return file.getvalue()


def _put_alpha(image, alpha):
    """Give an image, L or RGB, the alpha plane in a PNG file."""
    try:
        with _pillow():
            plane = Image.open(io.BytesIO(alpha), formats=["PNG"])
            if plane.mode != "L" or plane.size != image.size:
                raise PictureError("the alpha plane is damaged")
            image.putalpha(plane)
    except Exception as error:  # Pillow's reader can fail in any way on damaged bytes
        raise PictureError("the alpha plane is damaged") from error


def _checked_exif(content):
    """EXIF bytes that can be read and written: what cannot would fail when the image is saved."""
    try:
        with _pillow():
            exif = Image.Exif()
            exif.load(content)
            exif.tobytes()
    except Exception as error:  # as above
        raise PictureError("the EXIF data is damaged") from error
    return content


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

    EXIF that cannot be read is dropped, and so are the tags of a TIFF file, which say how its pixels lie.
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
    """Bring gray images of 16 bits, which Pillow would clip, to mode L or LA, and those of floats to L."""
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
            return ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")
