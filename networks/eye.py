"""How far apart two pictures are for the eye, with a gradient: what SSIMULACRA2 makes its score of, in haste.

Beyond borders pictures are mirrored, for parts of pictures and not whole ones are compared: the score of a
good picture would be up to 2 less. At each scale channels none of whose weights reaches LEAST are left out,
which changes scores by less than 0.1.
"""

import functools

import torch
from torch.nn import functional as F

from networks.ssimulacra2 import (
    GAUSSIAN,
    SCALES,
    STABLE,
    WEIGHTS,
    colours,
    linear,
)

LEAST = 1.0
SMALLEST_SIDE = 8  # pixels of a scale, which must be mirrored
CHANNELS = 3
# Weights by scale, channel, mean or norm, and kind of error.
_TABLE = torch.tensor(WEIGHTS).view(CHANNELS, SCALES, 2, 3).transpose(0, 1)
_USED = [[c for c in range(CHANNELS) if weights[c].max() >= LEAST] for weights in _TABLE]
_LAST = max(scale for scale, used in enumerate(_USED) if used)


def distance(pixels: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Distances (N,) of pictures from their originals: about 0 for equal ones; 2 is good, 10 bad.

    pixels: sRGB (N, 3, H, W) in [0, 1]; what lies outside is clipped. Has the gradient.
    reference: of the same shape. H and W are at least SMALLEST_SIDE; the smaller, the fewer the scales.
    """
    with torch.no_grad():
        originals = _scales(reference)
    total = torch.zeros(len(pixels), device=pixels.device)
    for table, used, scale, original in zip(_TABLE, _USED, _scales(pixels), originals):
        total = total + (scale.errors(original) * table[used].to(total)).sum((1, 2, 3))
    return total


class _Scale:
    """Some channels of pictures at one scale, and what is known of their surroundings, each (N, C, H, W)."""

    def __init__(self, light, channels):
        self.xyb = colours(light)[:, channels]
        self.mean, square = _blur(torch.cat([self.xyb, self.xyb.square()], 1)).chunk(2, 1)
        self.variance = square - self.mean.square()
        self.edges = 1 + (self.xyb - self.mean).abs()

    def errors(self, original):
        """Means and 4-norms of three kinds of error, (N, C, 2, 3)."""
        covariance = _blur(self.xyb * original.xyb) - self.mean * original.mean
        alike = (2 * covariance + STABLE) / (self.variance + original.variance + STABLE)
        structure = 1 - (1 - (self.mean - original.mean).square()) * alike
        edges = self.edges / original.edges - 1
        errors = torch.stack([structure, edges, -edges], 2).clamp(min=0)  # (N, C, 3, H, W)
        # The root of zero has no gradient.
        norms = (errors.square().square().mean((3, 4)) + 1e-16).sqrt().sqrt()
        return torch.stack([errors.mean((3, 4)), norms], 2)


def _scales(pixels):
    """The _Scale of each scale that counts and is large enough."""
    light, found = linear(pixels.float().clamp(0, 1)), []
    for used in _USED[: _LAST + 1]:
        if min(light.shape[2:]) < SMALLEST_SIDE:
            break
        found.append(_Scale(light, used))
        light = F.avg_pool2d(light, 2, ceil_mode=True)
    return found


def _blur(planes):
    """Planes (N, C, H, W) under the window."""
    # A product of matrices is several times as fast as a narrow convolution.
    down, across = (_window(side, planes.device) for side in planes.shape[2:])
    return down @ planes @ across.T


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must do for training too
def _window(side, device):
    """The matrix (side, side) that blurs a column of pixels."""
    weights, reach = torch.tensor([*GAUSSIAN[:0:-1], *GAUSSIAN], device=device), len(GAUSSIAN) - 1
    columns = F.pad(torch.eye(side, device=device)[None], (reach, reach), "reflect")  # (1, side, side + 8)
    return F.conv1d(columns.transpose(0, 1), weights[None, None])[:, 0].T
