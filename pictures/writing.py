"""Pillow images to image files."""

import io
import os

from PIL import Image

from coding.files import replacing
from pictures.pillow import PictureError


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
