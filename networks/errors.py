"""What a picture's distortion is measured in: squared errors, or in part what the eye sees."""

import torch

from networks import eye

SHARE = 0.5  # of what the eye sees; the squared error keeps colours and contrasts where they are
# Squared error that a distance is worth: along our own curves both cost as many bits, at all rates.
UNIT = 1.03e-4


def squared(pixels: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean squared errors (N,) of pixels (N, 3, H, W) in [0, 1] against others."""
    return (pixels - reference).square().mean((1, 2, 3))


def seen(pixels: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The same, but half of it the distance for the eye; sides are at least 8."""
    with torch.autocast(pixels.device.type, enabled=False):  # differences of squares need all digits
        distance = eye.distance(pixels, reference)
    return (1 - SHARE) * squared(pixels, reference) + SHARE * UNIT * distance


BY_TUNE = {"psnr": squared, "eye": seen}  # for modes.TUNES
