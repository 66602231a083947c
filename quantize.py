"""The quantizer: real latents in [0, 1] to integers in [0, 2^B] and back, and what stands in for it.

Two formulas, one for each phase. Inference rounds, b = floor(f * 2^B + 0.5); training cannot
differentiate that, so it adds noise as wide as one step, f + 2^-B * u with u uniform in
[-1/2, 1/2] (Balle et al. 2017, "End-to-end optimized image compression", section 3), or rounds
and passes the gradient straight through (Theis et al. 2017, "Lossy image compression with
compressive autoencoders", section 2.1).

The networks exchange latents y in quantization steps around zero: y = f * 2^B - 2^(B-1). An entropy model
gives each a mean, and a rounding policy says what its distance from the mean becomes. All policies have
the arguments distance, mean and log_scale (log2 of the deviation), each of one shape, in steps.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import torch

from coding.latents import DEAD_ZONE, LARGEST_DEAD_ZONE, LEAST_LOG_SCALE


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


def round_plainly(
    distance: torch.Tensor,
    mean: torch.Tensor,
    log_scale: torch.Tensor,
) -> torch.Tensor:
    """The nearest whole distance; zero where the scale is too small for another to be coded."""
    return distance.round() * (log_scale >= LEAST_LOG_SCALE)


def round_with_dead_zone(
    distance: torch.Tensor,
    mean: torch.Tensor,
    log_scale: torch.Tensor,
) -> torch.Tensor:
    """As `round_plainly`, but all thresholds are moved outwards, and the dead zone around zero is the widest
    interval.

    Of two integers the one nearer the mean costs fewer bits, by 2.04 / deviation under a Laplace
    distribution, and is
    worth a larger error: the rate-distortion optimal thresholds of Sullivan 1996, "Efficient scalar
    quantization of exponential and Laplacian random variables".
    """
    zone = (DEAD_ZONE * torch.exp2(-log_scale)).clamp(max=LARGEST_DEAD_ZONE)
    return distance.sign() * torch.floor(distance.abs() + 0.5 - zone) * (log_scale >= LEAST_LOG_SCALE)


def soften_to_integers(
    distance: torch.Tensor,
    mean: torch.Tensor,
    log_scale: torch.Tensor,
    sharpness: float,
) -> torch.Tensor:
    """`round_to_integers` made soft, see `soften`."""
    return soften(distance + mean, sharpness) - mean


def soften_plainly(
    distance: torch.Tensor,
    mean: torch.Tensor,
    log_scale: torch.Tensor,
    sharpness: float,
) -> torch.Tensor:
    """`round_plainly` made soft, see `soften`."""
    return soften(distance, sharpness)


def soften(x: torch.Tensor, sharpness: float) -> torch.Tensor:
    """Soft rounding of x of any shape: the identity for a sharpness near 0, rounding for a large one.

    Agustsson and Theis 2020, "Universally quantized neural compression", section 4.1.
    """
    floor = x.detach().floor()
    return floor + 0.5 + 0.5 * torch.tanh(sharpness * (x - floor - 0.5)) / math.tanh(sharpness / 2)


def with_noise(distance: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """What bits are measured on in training: the distance from the mean, with noise one step wide."""
    return add_noise(distance, B=0)


def as_rounded(distance: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """What bits are measured on when latents are coded: the rounded distance from the mean."""
    return rounded


def split_digits(
    y: torch.Tensor,
    digits: Sequence[int],
    B: int,
) -> torch.Tensor:
    """Write K latents as D = sum(digits) latents of 2^B + 1 levels each: residual quantization.

    Five levels cannot hold the brightness of a block; two latents of five levels hold 25. All but the
    last digit of a latent are whole numbers, and the last is what they leave, so that its rounding is
    the rounding of the whole (multistage quantization, Juang and Gray 1982). With one digit each this
    is the identity.
    y: (N, K, H, W), real, in steps around zero; digits: K counts; returns (N, D, H, W) in steps,
    coarse digits first, for which `join_digits` is the inverse.
    """
    base, out = 2**B + 1, []
    for part, count in zip(y.split(1, 1), digits):
        for power in range(count - 1, 0, -1):
            coarse = torch.round(part / base**power).clamp(-(2 ** (B - 1)), 2 ** (B - 1))
            part = part - coarse * base**power
            out.append(coarse)
        out.append(part)
    return torch.cat(out, 1)


def join_digits(
    parts: torch.Tensor,
    digits: Sequence[int],
    B: int,
) -> torch.Tensor:
    """Latents (N, K, H, W) of their digits (N, D, H, W), both in steps around zero."""
    base = 2**B + 1
    return torch.cat(
        [
            sum(digit * base**power for power, digit in enumerate(reversed(part.split(1, 1))))
            for part in parts.split(list(digits), 1)
        ],
        1,
    )


def to_integers(
    y: torch.Tensor,
    digits: Sequence[int],
    B: int,
) -> torch.Tensor:
    """The integers b in [0, 2^B], (N, D, H, W), of quantized latents y (N, K, H, W) within their `limits`."""
    return split_digits(y, digits, B) + 2 ** (B - 1)


def from_integers(
    b: torch.Tensor,
    digits: Sequence[int],
    B: int,
) -> torch.Tensor:
    """The latents, float (N, K, H, W), of integers b (N, D, H, W) in [0, 2^B]; inverse of `to_integers`."""
    return join_digits(b.float() - 2 ** (B - 1), digits, B)


@dataclasses.dataclass(frozen=True)
class Policies:
    """The rounding policies of a kind of latents.

    round: that of coding, as `coding/latents.py` has it too; nearest: the one with no dead zone; softly: the
    soft one, which has a gradient and a `sharpness` besides.
    """

    round: Callable
    nearest: Callable
    softly: Callable


def policies(latents: str, B: int) -> Policies:
    """Those of "integers" or "distances", as `coding/modes.py` names the kinds; B: bits of the quantizer."""
    if latents == "integers":
        nearest = functools.partial(round_to_integers, B=B)
        return Policies(nearest, nearest, soften_to_integers)
    return Policies(round_with_dead_zone, round_plainly, soften_plainly)
