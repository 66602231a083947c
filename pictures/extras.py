"""What goes with the colours of a picture: alpha, orientation, EXIF, XMP and resolution."""

import io
import logging

from PIL import Image, ImageOps

from coding.container import MAX_RESOLUTION, MIN_RESOLUTION
from pictures import pillow
from pictures.pillow import PictureError

ORIENTATION = 0x0112  # the EXIF tag
TURNED = (5, 6, 7, 8)  # orientations by which rows become columns
X_RESOLUTION = 282  # the TIFF tag
EXIF_IFD, GPS_IFD = 34665, 34853
# Tags of a TIFF file that are not about how its pixels lie: description, make, model, software, date, artist,
# host and copyright.
DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 33432)

logger = logging.getLogger(__name__)


def upright(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """The image with its EXIF orientation applied, and the bytes of its other EXIF tags or None.

    Drops EXIF that cannot be read, which is logged, and tags of a TIFF file that say how its pixels lie.
    """
    try:
        with pillow.limits():
            tags = _described(image) if hasattr(image, "tag_v2") else None
            turned = image.getexif().get(ORIENTATION, 1) != 1
            image = ImageOps.exif_transpose(image) if turned else image  # which copies in any case
            exif = image.getexif() if tags is None else tags
            return image, exif.tobytes() if set(exif) - {ORIENTATION} else None
    except MemoryError:
        raise
    except Exception:  # Pillow's reader can fail in any way on damaged bytes
        logger.info("the EXIF data cannot be read and are left out")
        return image, None


def _described(image):
    """What a TIFF file says of its picture, as EXIF."""
    exif, kept = image.getexif(), Image.Exif()
    for tag in DESCRIPTIVE:
        if tag in exif:
            kept[tag] = exif[tag]
    for tag in EXIF_IFD, GPS_IFD:
        if tag in exif:
            kept[tag] = exif.get_ifd(tag)
    return kept


def xmp_of(image: Image.Image) -> bytes | None:
    """The XMP data that Pillow found in the file of an image."""
    xmp = image.info.get("xmp")
    return (xmp.encode() if isinstance(xmp, str) else bytes(xmp)) if xmp else None


def resolution_of(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, across and down, of an image as it lies in its file, where this says them.

    Pillow makes up what a JPEG or TIFF file leaves out.
    """
    if image.format in ("JPEG", "MPO") and image.info.get("jfif_unit") not in (1, 2):
        return None
    if image.format == "TIFF" and X_RESOLUTION not in image.tag_v2:
        return None
    try:
        across, down = map(float, image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(MIN_RESOLUTION <= value <= MAX_RESOLUTION for value in (across, down)):
        return None
    try:
        turned = image.getexif().get(ORIENTATION) in TURNED
    except Exception:  # as above
        turned = False
    return (down, across) if turned else (across, down)


def checked_exif(content: bytes) -> bytes:
    """EXIF bytes that can be read and written: what cannot would fail when the image is saved.

    Raises PictureError.
    """
    try:
        with pillow.limits():
            exif = Image.Exif()
            exif.load(content)
            exif.tobytes()
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise PictureError("the EXIF data is damaged") from error
    return content


def to_png(plane: Image.Image) -> bytes:
    """A PNG file of an alpha plane."""
    file = io.BytesIO()
    plane.save(file, "PNG", optimize=True)
    return file.getvalue()


def put_alpha(image: Image.Image, alpha: bytes) -> None:
    """Give an image, L or RGB, the alpha plane in a PNG file; raises PictureError."""
    try:
        with pillow.limits():
            plane = Image.open(io.BytesIO(alpha), formats=["PNG"])
            if plane.mode != "L" or plane.size != image.size:
                raise PictureError("the alpha plane is damaged")
            image.putalpha(plane)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's reader can fail in any way on damaged bytes
        raise PictureError("the alpha plane is damaged") from error
