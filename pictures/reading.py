"""Image files to Pillow images."""

from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from pictures import pillow
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


def read(path: str, file: BinaryIO | None = None) -> Image.Image:
    """Open the image file `path`, or the open `file` of that name.

    Raises PictureError or OSError if it is none or damaged.
    """
    try:
        with pillow.limits():
            image = Image.open(file or path)
            image.load()
    except UnidentifiedImageError as error:
        raise PictureError(f"{path}: not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path}: the image is too large") from error
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers can fail in any way on damaged bytes
        raise PictureError(f"{path}: the image is damaged ({error})") from error
    return image
