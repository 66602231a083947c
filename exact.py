"""Arithmetic that gives the same result on every machine, for networks that choose probabilities.

A decoder that recomputes probabilities in floating point loses the file where its sums round otherwise
than the encoder's (Balle, Johnston and Minnen 2019, "Integer networks for data compression with
latent-variable models"). Here weights are multiples of 2^-12 within +-8 and activations multiples of
2^-8 within +-2^15. With up to 4,096 terms every partial sum is a multiple of 2^-20 below 2^31, which
float64 holds without rounding, so that neither the order of a sum, nor threads, nor fused operations matter.

The same functions serve training: in float32 they are differentiable and round nothing.
"""
import math

import torch

WEIGHT_BITS = 12
ACTIVATION_BITS = 8
MOST_WEIGHT = 8
MOST_ACTIVATION = 2**15
EXPONENT_BITS = 6  # of the fraction in `power_of_two`


def _roots():
    """2^(i/64) for i in 0 ... 63 in 1/4096, rounded down, by integers alone: six square roots are a 64th root."""
    values = []
    for i in range(2**EXPONENT_BITS):
        root = 2 ** (i + WEIGHT_BITS * 2**EXPONENT_BITS)
        for _ in range(EXPONENT_BITS):
            root = math.isqrt(root)
        values.append(root / 2**WEIGHT_BITS)
    return torch.tensor(values, dtype=torch.float64)


ROOTS = _roots()


@torch.no_grad()
def freeze(module):
    """Bring a module's parameters to float64 and the grid of weights, in place; returns it."""
    module.double().cpu().eval()
    for parameter in module.parameters():
        parameter.copy_((parameter * 2**WEIGHT_BITS).round() / 2**WEIGHT_BITS).clamp_(-MOST_WEIGHT, MOST_WEIGHT)
        parameter.requires_grad_(False)
    return module


def settle(x):
    """Activations of any shape rounded to their grid and range; in float32 only brought to the range."""
    x = x.clamp(-MOST_ACTIVATION, MOST_ACTIVATION)
    return x.mul_(2**ACTIVATION_BITS).round_().div_(2**ACTIVATION_BITS) if x.dtype == torch.float64 else x


def power_of_two(x):
    """2^x of settled x of any shape, from a table in float64."""
    if x.dtype != torch.float64:
        return torch.exp2(x)
    steps = (x * 2**EXPONENT_BITS).round().long()
    return torch.ldexp(ROOTS[steps % 2**EXPONENT_BITS], steps >> EXPONENT_BITS)


def signed_log(x):
    """sign(x) log2(1 + |x|), between powers of two by straight lines, so that it is exact."""
    mantissa, exponent = torch.frexp(1 + x.abs())
    return settle(x.sign() * (exponent + 2 * mantissa - 2))


def polynomial(coefficients, t):
    """c0 + c1 t + c2 t^2, settled, (N, C, 1, 1), of coefficients (3, C) at t (N,), multiples of 1/64."""
    t = t.view(-1, 1)
    c0, c1, c2 = coefficients
    return settle(c0 + c1 * t + c2 * t.square())[:, :, None, None]
