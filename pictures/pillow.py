"""Pillow, held to the limits of our format, and the error for what it cannot take."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

from PIL import Image, ImageFile

from coding.container import MAX_PIXELS
from coding.errors import UserError


class PictureError(UserError):
    """An image that cannot be taken."""


class _Limits:
    """Switches of Pillow, which are its own for all threads: the first thread sets, the last resets them."""

    def __init__(self):
        self.lock, self.inside, self.before = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self):
        with self.lock:
            if self.inside == 0:
                self.before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # what is over twice as large is refused
                self.before.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")  # readers warn of what they then repair
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.before.close()


_LIMITS = _Limits()


def limits() -> contextlib.AbstractContextManager:
    """Let Pillow read what the format holds, in silence."""
    return _LIMITS


@contextlib.contextmanager
def tolerant() -> Iterator[None]:
    """As `limits`, and let Pillow take what there is of a damaged file; of one thread alone."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with limits():
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def crop(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """A part of an image, which Pillow holds to the limit of whole images."""
    with limits():
        return image.crop(box)
