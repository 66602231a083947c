"""Pillow images to image files."""

import io
import logging
import os

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from coding.files import replacing
from pictures import conversion
from pictures.pillow import PictureError

XMP_TAG = 700  # of TIFF
XMP_TEXT = "XML:com.adobe.xmp"  # of PNG
ICON = 256  # pixels of the longest side of an ICO file
JPEG_BLOCK = 65_400  # bytes of EXIF or XMP that a JPEG file holds
NAMES = {"icc_profile": "ICC profile", "exif": "EXIF", "xmp": "XMP", "dpi": "resolution"}

# What the formats hold besides colours, under the names of Pillow; formats that are not listed hold nothing.
HOLDS = {
    "PNG": {"alpha", *NAMES},
    "TIFF": {"alpha", *NAMES},
    "JPEG": {*NAMES},
    "MPO": {*NAMES},
    "WEBP": {"alpha", "icc_profile", "exif", "xmp"},
    "AVIF": {"alpha", "icc_profile", "exif", "xmp"},
    "BMP": {"dpi"},
    **{name: {"alpha"} for name in ("DDS", "GIF", "ICO", "JPEG2000", "QOI", "SGI", "TGA")},
}
OPTIONS = {
    "JPEG": {"quality": 95},
    "MPO": {"quality": 95},
    "AVIF": {"quality": 95},
    "PDF": {"quality": 95},
    "WEBP": {
        "lossless": True,
        "exact": True,
        "quality": 20,
    },  # a quarter of the time of 80, for 1 % of the bytes
}
NOT_FOR_PICTURES = ("BLP", "BUFR", "GRIB", "HDF5", "MSP", "PALM", "WMF", "XBM")  # Pillow writes none of ours
SECOND_LOSS = ("JPEG", "MPO", "AVIF", "PDF")

logger = logging.getLogger(__name__)


class _File(io.FileIO):
    """A file that shows Pillow no descriptor, since its own writers do not see that a disk is full.

    name: that some formats put into the file
    """

    def __init__(self, path: str, name: str):
        super().__init__(path, "w+b")
        self.name = name

    def fileno(self):
        raise io.UnsupportedOperation("fileno")


def check_writable(path: str, size: tuple[int, int] | None = None) -> None:
    """Raise PictureError if `write` knows no format for the extension of `path`, or one for small icons.

    size: width and height of the picture, where they are known
    """
    name = _format_of(path)
    if name == "ICNS" or (name == "ICO" and size is not None and max(size) > ICON):
        raise PictureError(f"{path}: the format is for icons and would shrink the picture; try .png")


def changes_pixels(path: str) -> bool:
    """Whether the format that the extension of `path` stands for compresses with losses of its own."""
    return _format_of(path) in SECOND_LOSS


def write(image: Image.Image, path: str) -> None:
    """Write a Pillow image with what goes with it to `path`, whose extension chooses the format.

    Logs what the format does not hold. Raises PictureError for an unknown extension or a picture that the
    format does not hold, and OSError.
    """
    check_writable(path, image.size)
    format_name = _format_of(path)
    with replacing(path) as temporary:
        try:
            with io.BufferedRandom(_File(temporary, os.path.basename(path))) as file:
                _save(image, file, format_name)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # Pillow's writers can fail in any way
            raise PictureError(f"{path}: the format cannot hold this picture ({error})") from error


def to_png(image: Image.Image) -> bytes:
    """A PNG file of a Pillow image, with what goes with it."""
    file = io.BytesIO()
    _save(image, file, "PNG")
    return file.getvalue()


def _save(image, file, format_name):
    kept = {name: image.info[name] for name in NAMES if name in image.info}
    missing = [name for name in kept if not _holds(format_name, name, kept[name])]
    for name in missing:
        content = kept.pop(name)
        if name == "icc_profile":
            image = conversion.to_srgb(image, content)
    if missing:
        logger.warning("%s holds no %s", format_name, ", no ".join(NAMES[name] for name in missing))
    image = _reduced(image, format_name)
    image.save(file, format_name, **_options(image, format_name, kept))


def _holds(format_name, name, content):
    too_long = format_name in ("JPEG", "MPO") and name in ("exif", "xmp") and len(content) > JPEG_BLOCK
    return name in HOLDS.get(format_name, ()) and not too_long


def _reduced(image, format_name):
    """The image without what the format does not hold of its pixels."""
    if image.mode.endswith("A") and "alpha" not in HOLDS.get(format_name, ()):
        logger.warning("%s holds no transparency, which becomes white", format_name)
        white = Image.new(image.mode, image.size, "white")
        image = Image.alpha_composite(white.convert("RGBA"), image.convert("RGBA")).convert(image.mode[:-1])
    if format_name == "GIF" and image.mode != "L":
        logger.warning("GIF holds 256 colours, and no partial transparency: the pixels are changed once more")
    return image


def _options(image, format_name, kept):
    """Options of `Image.save`."""
    options = kept | OPTIONS.get(format_name, {})
    xmp = kept.get("xmp")
    if format_name == "ICO":
        options["sizes"] = [image.size]
    if format_name == "PNG" and xmp:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt(XMP_TEXT, xmp.decode("utf-8", "replace"))
    if format_name == "TIFF" and xmp:
        exif = Image.Exif()
        exif.load(kept.get("exif", b""))
        exif[XMP_TAG] = xmp
        options["exif"] = exif
    return options


def _format_of(path):
    """Pillow's name of the format that the extension of `path` stands for."""
    extension = os.path.splitext(path)[1].lower()
    name = Image.registered_extensions().get(extension)
    if name not in Image.SAVE or name in NOT_FOR_PICTURES:
        raise PictureError(f"{path}: cannot write images of type '{extension}'; try .png")
    return name
