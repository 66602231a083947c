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
BAND = 256  # rows that are looked at together
ORIENTATION = 0x0112  # the EXIF tag


class PictureError(UserError):
    """An image that cannot be taken."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """What the codec sees of an image: its colours, in mode L or RGB, and what goes with it."""

    colours: Image.Image
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
            # A copy of a large picture is large, so that none is made where none is needed.
            colours = image if image.mode in ("L", "RGB") else image.convert("L" if one_channel else "RGB")
        except ValueError as error:
            raise PictureError(f"images of mode {image.mode} are not supported") from error
        gray = one_channel or _is_gray(colours)
        return cls(colours, Metadata(image.width, image.height, gray, one_channel, alpha, icc or None, exif))

    def window(self, rows: slice, columns: slice) -> np.ndarray:
        """Pixels uint8 (h, w, 3) of rows and columns; the last ones are repeated outside the picture."""
        right, bottom = min(columns.stop, self.colours.width), min(rows.stop, self.colours.height)
        pixels = _crop(self.colours, (columns.start, rows.start, right, bottom)).convert("RGB")
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
        _put_alpha(image, metadata.alpha)
    if metadata.icc:
        image.info["icc_profile"] = metadata.icc
    if metadata.exif:
        image.info["exif"] = _checked_exif(metadata.exif)
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
    return Picture.from_image(image).colours


def _is_gray(image):
    """Whether all channels of an RGB image are alike; band by band, since a whole copy may be large."""
    bands = (_crop(image, (0, top, image.width, top + BAND)) for top in range(0, image.height, BAND))
    return all((band == band[:, :, :1]).all() for band in map(np.asarray, bands))


def _crop(image, box):
    """A part of an image, which Pillow holds to the limit of whole images."""
    with _pillow():
        return image.crop(box)


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
            turned = image.getexif().get(ORIENTATION, 1) != 1
            upright = ImageOps.exif_transpose(image) if turned else image  # which copies in any case
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
