"""How far apart two pictures are for the eye, with a gradient: what SSIMULACRA2 makes its score of.

SSIMULACRA2 (Jon Sneyers 2022, github.com/cloudinary/ssimulacra2) compares pictures in JPEG XL's colours XYB,
at scales each half as large as the one before, by their structure, as SSIM does, and by edges that one has
and the other has not. Of each error it takes the mean and the 4-norm, which tells of the worst places. The
weights of these were fitted to what people said of pictures. They are that project's, but for those below 1,
which hardly count.
"""

import functools

import torch
from torch.nn import functional as F

# Of each scale, and there of each channel of X, Y and B that counts: weights of the mean and of the 4-norm of
# errors of structure, of edges that are new, and of edges that are lost.
WEIGHTS = (
    {1: (0, 7.466890328078848, 0, 0, 0, 17.445833984131262)},
    {0: (0, 1.1041726426657346, 0, 0, 0, 0), 1: (0, 6.683678146179332, 0, 0, 0, 1.027889937768264)},
    {
        0: (0, 1.8422455520539298, 0, 11.441172603757666, 0, 0),
        1: (225.20515300849274, 19.213238186143016, 0, 0, 0, 0),
    },
    {
        0: (0, 1.8787594979546387, 0, 10.94906990605142, 0, 0),
        1: (176.39317598450694, 24.43300999870476, 0, 0, 0, 0),
        2: (0, 8.826982764996862, 0, 23.19243343998926, 0, 0),
    },
    {
        1: (0, 34.77906344483772, 0, 44.835625328877896, 0, 0),
        2: (95.1080498811086, 0, 0, 171.2667255897307, 0, 0),
    },
)
# Light that the long, middle and short cones absorb of linear red, green and blue.
ABSORBANCE = (
    (0.3, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)
BIAS = 0.0037930732552754493  # added to that light
STABILITY = 0.0009  # of the structure of flat places
SIGMA, RADIUS = 1.5, 5  # of the Gaussian window, in pixels of a scale
SMALLEST_SIDE = 8  # pixels that a scale must have


def distance(pixels: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Distances (N,) of pictures from their originals: 0 for equal ones; 2 is good, 10 bad.

    pixels: sRGB (N, 3, H, W) in [0, 1]; what lies outside is clipped. Has the gradient.
    reference: of the same shape. H and W are at least SMALLEST_SIDE.
    """
    with torch.no_grad():
        originals = _scales(reference)
    total = torch.zeros(len(pixels), device=pixels.device)
    for weights, scale, original in zip(WEIGHTS, _scales(pixels), originals):
        table = total.new_tensor(list(weights.values()))  # (C, 6)
        total = total + (scale.errors(original) * table).sum((1, 2))
    return total


def score(distance: float) -> float:
    """The score of SSIMULACRA2 that a distance means, at most 100, and 90 where no difference is seen."""
    d = 0.9562382616834844 * distance
    d = 2.326765642916932 * d - 0.020884521182843837 * d**2 + 6.248496625763138e-05 * d**3
    return 100 - 10 * max(d, 0) ** 0.6276336467831387


class _Scale:
    """Some channels of pictures at one scale, and what is known of their surroundings, each (N, C, H, W)."""

    def __init__(self, linear, channels):
        self.xyb = _to_xyb(linear)[:, channels]
        self.mean, square = _blur(torch.cat([self.xyb, self.xyb.square()], 1)).chunk(2, 1)
        self.variance = square - self.mean.square()
        self.edges = 1 + (self.xyb - self.mean).abs()

    def errors(self, original):
        """(N, C, 6) as the weights are ordered."""
        covariance = _blur(self.xyb * original.xyb) - self.mean * original.mean
        likeness = (2 * covariance + STABILITY) / (self.variance + original.variance + STABILITY)
        structure = (1 - (1 - (self.mean - original.mean).square()) * likeness).clamp(min=0)
        edges = self.edges / original.edges - 1
        errors = torch.stack([structure, edges.clamp(min=0), (-edges).clamp(min=0)], 2)  # (N, C, 3, H, W)
        # The root of zero has no gradient.
        norm = (errors.square().square().mean((3, 4)) + 1e-16).sqrt().sqrt()
        return torch.stack([errors.mean((3, 4)), norm], 3).flatten(2)


def _scales(pixels):
    """The _Scale of each scale that is large enough."""
    linear, found = _to_linear(pixels), []
    for weights in WEIGHTS:
        if min(linear.shape[2:]) < SMALLEST_SIDE:
            break
        found.append(_Scale(linear, list(weights)))
        linear = F.avg_pool2d(linear, 2, ceil_mode=True)
    return found


def _to_linear(pixels):
    """Linear light of sRGB pixels."""
    pixels = pixels.float().clamp(0, 1)
    power = ((pixels.clamp(min=0.04) + 0.055) / 1.055) ** 2.4  # whose gradient is none near zero
    return torch.where(pixels <= 0.04045, pixels / 12.92, power)


def _to_xyb(linear):
    """X, Y and B (N, 3, H, W), shifted so as to be positive, of linear light."""
    light = F.conv2d(linear, linear.new_tensor(ABSORBANCE)[:, :, None, None]) + BIAS
    long, middle, short = (light ** (1 / 3) - BIAS ** (1 / 3)).unbind(1)
    x, y = (long - middle) / 2, (long + middle) / 2
    return torch.stack([14 * x + 0.42, y + 0.01, short - y + 0.55], 1)


def _blur(planes):
    """Planes (N, C, H, W) through the window; they are mirrored at their borders."""
    # A product of matrices is several times as fast as a narrow convolution.
    down, across = (_window(side, planes.device) for side in planes.shape[2:])
    return down @ planes @ across.T


@functools.lru_cache(maxsize=64)
def _window(side, device):
    """The matrix (side, side) that blurs a column of pixels."""
    places = torch.arange(-RADIUS, RADIUS + 1, device=device)
    window = torch.exp(-(places**2) / (2 * SIGMA**2))
    columns = F.pad(
        torch.eye(side, device=device)[None], (RADIUS, RADIUS), "reflect"
    )  # (1, side, side + 2 RADIUS)
    return F.conv1d(columns.transpose(0, 1), (window / window.sum())[None, None])[:, 0].T
