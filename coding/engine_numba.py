"""The engine where there is no C compiler: the arithmetic of the package arithmetic-compressor 0.2, operation
for operation.

SimpleAdaptiveModel: probabilities in doubles; after each symbol p <- max(p * r + (1 - r)[if coded],
1/4096) with r = 1 - 1/1024; frequencies are round(4096 * p), half to even. The coder has 16 bits, no
carry, and closes with a 1 bit. No fast-math: these operations give the same doubles on every
machine, and a property test holds them to the package's.
"""

import numba
import numpy as np

from coding import compiled
from coding.compiled import TOP

RATE = 1 - 1 / 1024
GAIN = 1 - RATE
FLOOR = 1 / 4096

HALF = 0x8000
QUARTER = 0x4000


def _compiled(function):
    """numba.njit, whose work is kept for the next start where there is a place for it."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:
        return numba.njit(function)


@_compiled
def _adapt(p, frequency, size, symbol):
    """Update one model in place; returns its new total frequency."""
    total = 0
    p[symbol] = p[symbol] * RATE + GAIN
    coded = p[symbol]
    for s in range(size):
        p[s] = max(p[s] * RATE, FLOOR)
        frequency[s] = np.int32(np.rint(4096.0 * p[s]))
        total += frequency[s]
    p[symbol] = max(coded, FLOOR)
    total -= frequency[symbol]
    frequency[symbol] = np.int32(np.rint(4096.0 * p[symbol]))
    return total + frequency[symbol]


@_compiled
def _encode(symbols, contexts, p, frequency, sizes, totals, state, out):
    """Add the code of symbols to `out`, which is zero behind its bits."""
    low, high, pending, bits = state
    for i in range(symbols.size):
        m, symbol = contexts[i], symbols[i]
        below = 0
        for s in range(symbol):
            below += frequency[m, s]
        span = high - low + 1
        high = low + (below + frequency[m, symbol]) * span // totals[m] - 1
        low = low + below * span // totals[m]
        while (low ^ high) & HALF == 0:
            bit = low >> 15
            out[bits >> 3] |= bit << (7 - (bits & 7))
            bits += 1
            for _ in range(pending):
                out[bits >> 3] |= (bit ^ 1) << (7 - (bits & 7))
                bits += 1
            pending = 0
            low = (low << 1) & TOP
            high = (high << 1) & TOP | 1
        while low & ~high & QUARTER != 0:
            pending += 1
            low = (low << 1) ^ HALF
            high = ((high ^ HALF) << 1) | HALF | 1
        totals[m] = _adapt(p[m], frequency[m], sizes[m], symbol)
    state[:] = low, high, pending, bits


@_compiled
def _decode(code, contexts, p, frequency, sizes, totals, state, symbols):
    """Fill `symbols`; returns False where the code is read further than any encoder relies on."""
    end = 8 * code.size
    low, high, value, position = state
    while position < 16:
        value = value << 1 | ((code[position >> 3] >> (7 - (position & 7))) & 1 if position < end else 0)
        position += 1
    for i in range(contexts.size):
        if position > end + 15:
            return False
        m = contexts[i]
        span = high - low + 1
        target = ((value - low + 1) * totals[m] - 1) // span
        symbol, below = 0, 0
        while below + frequency[m, symbol] <= target:
            below += frequency[m, symbol]
            symbol += 1
        symbols[i] = symbol
        high = low + (below + frequency[m, symbol]) * span // totals[m] - 1
        low = low + below * span // totals[m]
        while (low ^ high) & HALF == 0:
            bit = (code[position >> 3] >> (7 - (position & 7))) & 1 if position < end else 0
            position += 1
            value = (value << 1) & TOP | bit
            low = (low << 1) & TOP
            high = (high << 1) & TOP | 1
        while low & ~high & QUARTER != 0:
            bit = (code[position >> 3] >> (7 - (position & 7))) & 1 if position < end else 0
            position += 1
            value = (value & HALF) | (value << 1) & (TOP >> 1) | bit
            low = (low << 1) ^ HALF
            high = ((high ^ HALF) << 1) | HALF | 1
        totals[m] = _adapt(p[m], frequency[m], sizes[m], symbol)
    state[:] = low, high, value, position
    return position <= end + 15


class Writer(compiled.Writer):
    """Codes symbols piece by piece."""

    @staticmethod
    def _encode(symbols, contexts, models, state, out):
        _encode(symbols, contexts, *models, state, out)


class Reader(compiled.Reader):
    """Reads what a Writer wrote, piece by piece."""

    @staticmethod
    def _decode(code, contexts, models, state, symbols):
        return _decode(code, contexts, *models, state, symbols)
