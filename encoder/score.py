"""SSIMULACRA2, the score that a target of picture quality is given in, which needs PyTorch."""

from types import ModuleType

import numpy as np

from coding.errors import UserError
from pictures.picture import Picture
from pictures.pillow import PictureError


def load() -> ModuleType:
    """`networks.ssimulacra2`; raises UserError where PyTorch is not installed."""
    try:
        from networks import ssimulacra2
    except ImportError as error:
        raise UserError(f"SSIMULACRA2 needs the package {error.name}, which is not installed") from error
    return ssimulacra2


def check_size(width: int, height: int) -> None:
    """Raise PictureError for a picture that is too small to have a score; width, height: in pixels."""
    smallest = load().SMALLEST_SIDE
    if min(width, height) < smallest:
        raise PictureError(
            f"SSIMULACRA2 needs sides of {smallest} pixels at least, this picture has {width}x{height}"
        )


def of(rgb: np.ndarray, picture: Picture) -> float:
    """At most 100, of decoded pixels uint8 (H, W, 3) against the colours of their picture."""
    return load().score(rgb, np.asarray(picture.colours.convert("RGB")))
