"""The quantizer: real latents in [0, 1] to integers in [0, 2^B] and back, and what stands in for it.

Two formulas, one for each phase. Inference rounds, b = floor(f * 2^B + 0.5); training cannot
differentiate that, so it adds noise as wide as one step, f + 2^-B * u with u uniform in
[-1/2, 1/2] (Balle et al. 2017, "End-to-end optimized image compression", section 3), or rounds
and passes the gradient straight through (Theis et al. 2017, "Lossy image compression with
compressive autoencoders", section 2.1).

The networks exchange latents y in quantization steps around zero: y = f * 2^B - 2^(B-1). An entropy model
gives each a mean, and a rounding policy says what its distance from the mean becomes. All policies have
the arguments distance, mean and log_scale (log2 of the deviation), each of one shape, in steps. Integers in
[0, 2^B] are what that distance, or in soft mode the latent, is made of (`to_digits`, `to_integers`); the
coder takes it as one number, which needs fewer bits.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import torch

from coding import dealing, packing, scales
from coding.latents import DEAD_ZONE, LARGEST, LARGEST_DEAD_ZONE


def quantize(f: torch.Tensor, B: int) -> torch.Tensor:
    """Round latents of any shape to integers in [0, 2^B], returned as a float tensor."""
    return torch.floor(f * 2**B + 0.5).clamp(0, 2**B)


def dequantize(b: torch.Tensor, B: int) -> torch.Tensor:
    """Map integers in [0, 2^B] of any shape back to [0, 1]; inverse of `quantize` up to half a step."""
    return b / 2**B


def add_noise(f: torch.Tensor, B: int) -> torch.Tensor:
    """Stand in for rounding in training: latents of any shape plus noise one step wide."""
    return f + (torch.rand_like(f) - 0.5) * 2**-B


def straight_through(rounded: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The values of `rounded` with the gradient of `real`, both of any shape."""
    return real + (rounded - real).detach()


def round_to_integers(
    distance: torch.Tensor,
    mean: torch.Tensor,
    log_scale: torch.Tensor,
    B: int,
) -> torch.Tensor:
    """The distance from the mean of the integer that is nearest to the latent, by the formula of inference on
    float32 f.

    It is a whole number above or below zero, not yet in [0, 2^B]: see `to_integers`.
    """
    f = (distance + mean).float() / 2**B + 0.5
    return torch.floor(f * 2**B + 0.5) - 2 ** (B - 1) - mean


def round_with_dead_zone(
    distance: torch.Tensor,
    mean: torch.Tensor,
    log_scale: torch.Tensor,
) -> torch.Tensor:
    """The nearest whole distance, but with all thresholds moved outwards: the dead zone around zero is the
    widest interval. Zero where the scale is too small for another to be coded.

    Of two integers the one nearer the mean costs fewer bits, by 2.04 / deviation under a Laplace
    distribution, and is worth a larger error: the rate-distortion optimal thresholds of Sullivan 1996,
    "Efficient scalar quantization of exponential and Laplacian random variables".
    """
    zone = (DEAD_ZONE * torch.exp2(-log_scale)).clamp(max=LARGEST_DEAD_ZONE)
    return distance.sign() * torch.floor(distance.abs() + 0.5 - zone) * (log_scale >= scales.LEAST_LOG_SCALE)


def round_within_digits(
    distance: torch.Tensor,
    mean: torch.Tensor,
    log_scale: torch.Tensor,
    B: int,
) -> torch.Tensor:
    """As `round_with_dead_zone`, brought to what the digits of hard mode hold."""
    limit = limit_of_digits(log_scale, B)
    return torch.clamp(round_with_dead_zone(distance, mean, log_scale), -limit, limit)


def limit_of_digits(log_scale: torch.Tensor, B: int) -> torch.Tensor:
    """The largest distance from the mean that the digits of hard mode hold."""
    return _digit_limits(B, log_scale.device)[scales.level_of(log_scale).clamp_min(0).long()]


def limit_of_integers(log_scale: torch.Tensor) -> torch.Tensor:
    """That of an integer in soft mode has nothing to do with the scale: see `coding/packing.py`."""
    return torch.full_like(log_scale, math.inf)


def limit_of_distances(log_scale: torch.Tensor) -> torch.Tensor:
    """The largest distance in variable mode: zero where the scale is too small for another to be coded."""
    return LARGEST * (log_scale >= scales.LEAST_LOG_SCALE).float()


@functools.cache
def _digit_limits(B, device):
    """The largest distance for a latent of each level of scale, (LEVELS,)."""
    return torch.from_numpy(dealing.limit(dealing.by_level(B), B)).float().to(device)


def with_noise(distance: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """What bits are measured on in training: the distance from the mean, with noise one step wide."""
    return add_noise(distance, B=0)


def as_rounded(distance: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """What bits are measured on when latents are coded: the rounded distance from the mean."""
    return rounded


def split(number: torch.Tensor, count: int, levels: int) -> list[torch.Tensor]:
    """Write a number as `count` digits of `levels` levels each, an odd number, coarse ones first.

    number: whole, of any shape; the digits, around zero, have its shape, and `join` is the inverse.
    """
    digits = []
    for power in range(count - 1, -1, -1):
        digits.append(torch.floor(number / levels**power + 0.5))
        number = number - digits[-1] * levels**power
    return digits


def join(digits: Sequence[torch.Tensor], levels: int) -> torch.Tensor:
    """The number whose digits of `levels` levels, coarse ones first, are these.

    The last may be real; its rounding is that of the number (multistage quantization, Juang and Gray 1982).
    """
    number = torch.zeros_like(digits[0])
    for digit in digits[:-1]:
        number = number * levels + torch.floor(digit + 0.5).clamp(-(levels // 2), levels // 2)
    return number * levels + digits[-1]


def to_digits(
    distances: torch.Tensor,
    counts: Sequence[int],
    B: int,
) -> torch.Tensor:
    """Distances (n,) from the mean in hard mode, whole numbers, as the integers in [0, 2^B], (D,), of a file.

    counts: the integers of each, as `coding/dealing.py` deals them; D is their sum.
    """
    numbers = zip(distances.unbind(), counts)
    digits = [digit for number, count in numbers for digit in split(number, count, 2**B + 1)]
    return torch.stack(digits) + 2 ** (B - 1)


def to_integers(
    y: torch.Tensor,
    digits: Sequence[int],
    B: int,
) -> torch.Tensor:
    """Latents y (N, K, H, W) of soft mode, in steps around zero, as what rounds to the D integers in [0, 2^B]
    of a file.

    1,025 levels are more than most components need: those that share an integer are its digits. `digits` says
    which, see `coding/packing.py`.
    y: quantized, or real, of which only the last digits stay real; within their limits and half a step more.
    Returns (N, D, H, W), integers where y is quantized, for which `from_integers` is the inverse.
    """
    groups = packing.groups(digits, B)
    parts = y.split([group.components for group in groups], 1)
    numbers = [join(part.split(1, 1), group.levels) for group, part in zip(groups, parts)]
    return torch.cat(numbers, 1) + 2 ** (B - 1)


def from_integers(
    b: torch.Tensor,
    digits: Sequence[int],
    B: int,
) -> torch.Tensor:
    """The latents, float (N, K, H, W), of integers b (N, D, H, W); inverse of `to_integers`."""
    groups = packing.groups(digits, B)
    numbers = (b.float() - 2 ** (B - 1)).split(1, 1)
    parts = [split(number, group.components, group.levels) for group, number in zip(groups, numbers)]
    return torch.cat([digit for part in parts for digit in part], 1)


@dataclasses.dataclass(frozen=True)
class Policies:
    """How a kind of latents is quantized.

    round: the rounding policy of coding, as `coding/latents.py` has it too; from_mean: whether its whole
    numbers are distances from the mean, or latents; limit: gives the largest of them, by the log_scale.
    """

    round: Callable
    from_mean: bool
    limit: Callable


def policies(latents: str, B: int) -> Policies:
    """Those of a kind of latents, as `coding/modes.py` names it; B: bits of the quantizer."""
    if latents == "integers":
        return Policies(functools.partial(round_to_integers, B=B), False, limit_of_integers)
    if latents == "dealt":
        return Policies(
            functools.partial(round_within_digits, B=B), True, functools.partial(limit_of_digits, B=B)
        )
    return Policies(round_with_dead_zone, True, limit_of_distances)
