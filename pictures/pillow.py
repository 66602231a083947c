"""Pillow, held to the limits of our format, and the error for what it cannot take."""

import contextlib
import warnings
from collections.abc import Iterator

from PIL import Image

from coding.container import MAX_PIXELS
from coding.errors import UserError


class PictureError(UserError):
    """An image that cannot be taken."""


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Let Pillow read what the format holds, in silence."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # it warns above, and refuses what is over twice as large
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # readers warn of what they then repair
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def crop(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """A part of an image, which Pillow holds to the limit of whole images."""
    with limits():
        return image.crop(box)
