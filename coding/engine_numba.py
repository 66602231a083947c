"""The engine where there is no C compiler: the arithmetic of the package arithmetic-compressor 0.2, operation
for operation.

SimpleAdaptiveModel: probabilities in doubles; after each symbol p <- max(p * r + (1 - r)[if coded],
1/4096) with r = 1 - 1/1024; frequencies are round(4096 * p), half to even. The coder has 16 bits, no
carry, and closes with a 1 bit. No fast-math: these operations give the same doubles on every
machine, and a property test holds them to the package's.
"""

import numba
import numpy as np

RATE = 1 - 1 / 1024
GAIN = 1 - RATE
FLOOR = 1 / 4096

TOP = 0xFFFF
HALF = 0x8000
QUARTER = 0x4000


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def _encode(symbols, contexts, p, frequency, sizes, totals, out):
    """Fill `out` with the code; returns its length in bits."""
    low, high, pending, bits = 0, TOP, 0, 0
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
    out[bits >> 3] |= 1 << (7 - (bits & 7))
    return bits + 1 + pending


@numba.njit(cache=True)
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


def _start(frequencies):
    """Probabilities, frequencies, sizes and totals of the models before the first symbol."""
    frequency = frequencies.astype(np.int32)
    return frequency / 4096, frequency, np.count_nonzero(frequency, axis=1), frequency.sum(1, dtype=np.int64)


def encode(symbols: np.ndarray, contexts: np.ndarray, frequencies: np.ndarray) -> bytes:
    """Code symbols (n,) with the models that contexts (n,) choose; frequencies (M, S) are their start."""
    out = np.zeros(2 * len(symbols) + 8, np.uint8)  # a symbol shifts the 16-bit range by 16 at most
    bits = _encode(symbols, contexts, *_start(frequencies), out)
    return out[: (bits + 7) // 8].tobytes()


class Reader:
    """Reads `code`, written by `encode` with the same `frequencies`, piece by piece."""

    def __init__(self, code: bytes, frequencies: np.ndarray):
        self._code, self._models = np.frombuffer(code, np.uint8), _start(frequencies)
        self._state = np.array([0, TOP, 0, 0])  # low, high, value, bits read

    def read(self, contexts: np.ndarray) -> np.ndarray | None:
        """The next symbols, int32 (n,), for contexts (n,), or None where the code ends before they do."""
        symbols = np.empty(len(contexts), np.int32)
        complete = _decode(self._code, contexts, *self._models, self._state, symbols)
        return symbols if complete else None
