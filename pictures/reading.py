"""Image files to Pillow images. This is the one place that opens them."""

import contextlib
import io
import logging
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from pictures import deep, jpeg, label, losses, pillow, png
from pictures.pillow import PictureError

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

logger = logging.getLogger(__name__)


def read(path: str, file: BinaryIO | None = None, tolerant: bool = False) -> Image.Image:
    """The first image in the file `path`, or in the open `file` of that name.

    tolerant: take what there is of a damaged file

    Logs what is mended, and at level INFO what is lost. Raises PictureError if it is no image or damaged.
    """
    try:
        with pillow.limits():
            return _read(path, file)
    except PictureError as error:
        whole = _without_end(path, file)
        if whole:
            logger.warning("the end marker of the JPEG file is missing; all pixels are there")
            with pillow.limits():
                return _read(path, io.BytesIO(whole))
        if not tolerant:
            raise
        with pillow.tolerant():
            image = _read(path, file)
        logger.warning("%s; what there is of it is taken", str(error).removeprefix(f"{path}: "))
        return image


def _without_end(path, file):
    """The bytes of a JPEG file with the end marker that it lacks, or None if it lacks more."""
    with contextlib.suppress(OSError), _at_start(path, file) as opened:
        content = opened.read()
        with pillow.limits():
            return jpeg.without_end(content) if content.startswith(jpeg.START) else None
    return None


@contextlib.contextmanager
def _at_start(path, file) -> Iterator[BinaryIO]:
    """The open file, or the one of that path while the block runs."""
    if file is None:
        with open(path, "rb") as opened:
            yield opened
    else:
        file.seek(0)
        yield file


def _read(path, file):
    """The image in an open file, or in the one of that path; raises as `read`."""
    try:
        with _at_start(path, file) as opened:
            chunks = png.chunks(opened)
            its_label = label.find(opened, chunks)
            opened.seek(0)
            image = Image.open(file or path)  # which Pillow keeps open for further frames
            label.apply(its_label, image.info)
            rawmode = deep.rawmode_of(image)
            image.load()
            losses.tell(image, opened, its_label)
            if rawmode:
                image = _rounded(image, opened, rawmode)
            png.scale_key(image, chunks)
            return image
    except UnidentifiedImageError as error:
        raise PictureError(f"{path}: not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: the image is too large") from error
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers can fail in any way on damage
        raise PictureError(f"{path}: the image is damaged ({error})") from error


def _rounded(image, file, rawmode):
    """The rounded levels of an image of 16 bits."""
    file.seek(0)
    low = Image.open(file)
    deep.let_low(low)
    low.load()
    return deep.rounded(image, low, rawmode)
