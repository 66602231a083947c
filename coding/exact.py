"""Arithmetic that gives the same result on every machine, for networks that choose probabilities.

A decoder that recomputes probabilities in floating point loses the file where its sums round otherwise
than the encoder's (Balle, Johnston and Minnen 2019, "Integer networks for data compression with
latent-variable models"). Here no sum is ever rounded, so that neither its order, nor threads, nor fused
operations matter. There are two ways:

- float64, weights multiples of 2^-12 within +-8, activations multiples of 2^-8 within +-2^15: with up to
  4,096 terms every partial sum is a multiple of 2^-20 below 2^31;
- float32, for the large layers, twice as fast: inputs multiples of 2^-6 within +-32, and each row of weights
  on the finest grid for which no partial sum can need more than the 24 bits of float32.

What happens to single numbers, not sums, is rounded by IEEE 754 alike everywhere. `networks/relaxed.py` has
the same functions for training.
"""

import functools
import math

import numpy as np

WEIGHT_BITS = 12
ACTIVATION_BITS = 8
MOST_WEIGHT = 8
MOST_ACTIVATION = 2**15
INPUT_BITS = 6  # of the inputs of a float32 layer
MOST_INPUT = 32
FLOAT32_BITS = 24
EXPONENT_BITS = 6  # of the fraction in `power_of_two`


def _roots():
    """2^(i/64) for i in 0 ... 63 in 1/4096, rounded down: six square roots of integers are a 64th root."""
    values = []
    for i in range(2**EXPONENT_BITS):
        root = 2 ** (i + WEIGHT_BITS * 2**EXPONENT_BITS)
        for _ in range(EXPONENT_BITS):
            root = math.isqrt(root)
        values.append(root / 2**WEIGHT_BITS)
    return np.array(values)


ROOTS = _roots()


def freeze(weights: np.ndarray) -> np.ndarray:
    """Weights of any shape brought to the grid and range of float64 arithmetic, float64."""
    grid = np.round(weights.astype(np.float64) * 2**WEIGHT_BITS) / 2**WEIGHT_BITS
    return grid.clip(-MOST_WEIGHT, MOST_WEIGHT)


def freeze_rows(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (O, I) and bias (O,) of a float32 layer, each row brought to its grid, float64.

    On it the sum of all magnitudes of products stays below 2^24.
    """
    rows = np.concatenate([weight, bias[:, None]], 1).astype(np.float64)
    most = np.array([MOST_INPUT] * weight.shape[1] + [1], np.float64)
    result, done = rows, np.zeros(len(rows), bool)
    for bits in range(WEIGHT_BITS, -2 * WEIGHT_BITS, -1):
        grid = np.round(rows * 2.0**bits) / 2.0**bits
        fits = ~done & ((np.abs(grid) * most).sum(1) < 2.0 ** (FLOAT32_BITS - INPUT_BITS - bits))
        result = np.where(fits[:, None], grid, result)
        done |= fits
    return result[:, :-1], result[:, -1]


@functools.cache
def whole_dtype() -> type:
    """float32 if products of its matrices keep 24 bits here, else float64: some libraries give up a part."""
    long, short = np.full((64, 64), 4095, np.float32), np.full((64, 64), 63, np.float32)
    is_whole = all((a @ b.T == 64 * 63 * 4095).all() for a, b in ((long, short), (short, long)))
    return np.float32 if is_whole else np.float64


def settle(x: np.ndarray) -> np.ndarray:
    """Activations of any shape rounded to their grid and range, in place; returns them."""
    return _to_grid(np.clip(x, -MOST_ACTIVATION, MOST_ACTIVATION, out=x), ACTIVATION_BITS)


def activate(x: np.ndarray) -> np.ndarray:
    """Between exact layers: zero for what is negative, the rest brought to the grid and range of inputs; in
    place."""
    return _to_grid(np.clip(x, 0, MOST_INPUT, out=x), INPUT_BITS)


def _to_grid(x, bits):
    x *= 2**bits
    np.rint(x, out=x)
    x *= 2.0**-bits
    return x


def power_of_two(x: np.ndarray) -> np.ndarray:
    """2^x of settled x of any shape, from a table."""
    parts = np.rint(x * 2**EXPONENT_BITS).astype(np.int64)  # 64ths
    whole = (parts >> EXPONENT_BITS) + 1023 << 52  # the bits of a power of two; libraries may be off by one
    return ROOTS[parts % 2**EXPONENT_BITS] * whole.view(np.float64)


def signed_log(x: np.ndarray) -> np.ndarray:
    """sign(x) log2(1 + |x|), by straight lines between powers of two, on the grid and in range of inputs."""
    mantissa, exponent = np.frexp(1 + np.abs(x))
    return np.sign(x) * _to_grid(exponent + 2 * mantissa - 2, INPUT_BITS)


def polynomial(coefficients: np.ndarray, t: float) -> np.ndarray:
    """c0 + c1 t + c2 t^2, settled, (C,), of coefficients (3, C) at t, a multiple of 1/64."""
    return settle(coefficients[0] + coefficients[1] * t + coefficients[2] * (t * t))
