"""What of an image file does not travel: it is logged at level INFO, for those who want to know."""

import logging
from typing import BinaryIO

from PIL import ExifTags, Image

from pictures.label import Label

KNOWN_TEXTS = ("XML:com.adobe.xmp", "Raw profile type exif", "exif")
FRAMES = {"TIFF": "pages", "MPO": "views"}
GAIN_MAPS = b'hdrgm:Version="', b"urn:iso:std:iso:ts:21496"
MOTION = b'MotionPhoto="1"', b'MicroVideo="1"'
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/"

logger = logging.getLogger(__name__)


def tell(image: Image.Image, file: BinaryIO, label: Label | None) -> None:
    """Log what is lost of an image that was loaded from an open file with a label of its colours."""
    if not logger.isEnabledFor(logging.INFO):
        return
    further = _count_frames(file) - 1
    if further > 0:
        logger.info("%d further %s are left out", further, FRAMES.get(image.format, "frames"))
    if label and not label.has_profile:
        logger.info("%s is left out", label)
    segments = [content for name, content in getattr(image, "applist", ()) if name in ("APP1", "APP2")]
    if any(mark in content for content in segments for mark in GAIN_MAPS):
        logger.info("the HDR gain map is left out")
    if any(mark in content for content in segments for mark in MOTION):
        logger.info("the film of the motion photo is left out")
    if _has_thumbnail(image):
        logger.info("the thumbnail in the EXIF data is left out")
    if any(content.startswith(EXTENDED_XMP) for content in segments):
        logger.info("the second part of the XMP data is left out")
    _tell_of_text(image)


def _has_thumbnail(image):
    exif = Image.Exif()  # of its own: Pillow tells one time only that an image's is damaged
    try:
        exif.load(image.info.get("exif"))
        return bool(exif.get_ifd(ExifTags.IFD.IFD1))
    except Exception:  # as below
        return False


def _count_frames(file):
    file.seek(0)
    try:
        # Of a second image, since counting frames leaves the first of them.
        return getattr(Image.open(file), "n_frames", 1)
    except Exception:  # Pillow's readers can fail in any way on damaged frames
        return 1


def _tell_of_text(image):
    if image.info.get("comment"):
        logger.info("the comment is left out")
    if image.info.get("photoshop"):
        logger.info("the data of Photoshop (IPTC) are left out")
    texts = [name for name in getattr(image, "_text", None) or () if name not in KNOWN_TEXTS]
    if texts:
        logger.info("the text %s is left out", ", ".join(map(repr, texts[:3])) + ", ..." * (len(texts) > 3))
