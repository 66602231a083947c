"""Integers to bits and back, with a bank of adaptive models: one SimpleAdaptiveModel a channel.

A channel's alphabet is the range of integers that training met, plus an escape. Every model starts
from the probabilities counted in training and forgets them slowly for those of the image. A payload is

    varint n | n escaped integers as zigzag varints | arithmetic code of all symbols, channel by channel

Two engines write the same bytes: `engine_package` is the package arithmetic-compressor itself,
`engine_compiled` the same arithmetic in a compiled loop, some hundred times faster.
"""
import dataclasses

import numpy as np

SCALE = 4096  # probabilities are multiples of 1/4096 at the start, and never less
WINDOW = 1024  # symbols over which SimpleAdaptiveModel forgets, at its rate of 1 - 2^-10
ESCAPE_BITS = 16  # of a varint for most integers
MAX_ALPHABET = 2048  # keeps the total frequency well inside the coder's 16-bit range
ESCAPE = 0


class PayloadError(ValueError):
    """A payload that no encoder wrote; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Bank:
    """Initial state of one adaptive model for each of C channels.

    lowest: int32 (C,), the integer of symbol 1; symbol 0 is the escape.
    frequencies: int16 (C, S), initial probabilities in 1/4096, at least 1, then zeros past the
    channel's own alphabet. Raises ValueError when they do not make a bank.
    """
    lowest: np.ndarray
    frequencies: np.ndarray

    def __post_init__(self):
        channels, symbols = self.frequencies.shape
        if self.lowest.shape != (channels,) or not 2 <= symbols <= MAX_ALPHABET:
            raise ValueError("bank has the wrong shape")
        used = np.arange(symbols) < self.sizes[:, None]
        if (self.sizes < 2).any() or ((self.frequencies > 0) != used).any():
            raise ValueError("bank has a symbol of no probability")
        if (self.frequencies.sum(1, dtype=np.int64) > SCALE + self.sizes).any():
            raise ValueError("bank has probabilities of more than one in all")

    @property
    def sizes(self):
        """Symbols in each channel's alphabet, the escape included, int (C,)."""
        return np.count_nonzero(self.frequencies, axis=1)

    def code_lengths(self, values, levels):
        """Bits of each integer in 0 ... levels - 1, float64 (C, levels), where integers `values` (C, N) are coded.

        The models go from the initial probabilities to the shares among `values`; this is their mean.
        """
        channels, symbols = self.frequencies.shape
        index = np.asarray(values, np.int64) - self.lowest[:, None] + 1
        index = np.where((index >= 1) & (index < self.sizes[:, None]), index, ESCAPE) + symbols * np.arange(channels)[:, None]
        counts = np.bincount(index.ravel(), minlength=channels * symbols).reshape(channels, symbols)
        shares = (WINDOW / SCALE * self.frequencies + counts) / (WINDOW + np.shape(values)[1])
        bits = -np.log2(np.maximum(shares, 1 / SCALE))
        symbol = np.arange(levels) - self.lowest[:, None] + 1
        inside = (symbol >= 1) & (symbol < self.sizes[:, None])
        return np.take_along_axis(bits, np.where(inside, symbol, ESCAPE), 1) + np.where(inside, 0, ESCAPE_BITS)

    @classmethod
    def fit(cls, values, rare=2e-5):
        """Count integers `values` (C, N); those outside the range of shares above `rare` are escaped.

        At 1/4096 the slot of a symbol that never comes costs all others 0.00035 bits each, as much
        as escaping one latent in 50,000.
        """
        lowest, rows = [], []
        for channel in np.asarray(values):
            base = channel.min()
            counts = np.bincount(channel - base)
            kept = np.flatnonzero(counts > rare * channel.size)[[0, -1]]
            kept[1] = min(kept[1], kept[0] + MAX_ALPHABET - 2)
            inside = counts[kept[0]:kept[1] + 1]
            lowest.append(base + kept[0])
            rows.append(_to_frequencies(np.concatenate([[counts.sum() - inside.sum()], inside])))
        frequencies = np.zeros((len(rows), max(map(len, rows))), np.int16)
        for row, filled in zip(frequencies, rows):
            row[:len(filled)] = filled
        return cls(np.array(lowest, np.int32), frequencies)


def _to_frequencies(counts):
    """Integers of at least 1, in proportion to counts (S,), that sum to 4096."""
    room = SCALE - len(counts)
    exact = counts * (room / counts.sum())
    frequencies = np.floor(exact).astype(np.int64)
    largest_remainders = np.argsort(frequencies - exact, kind="stable")[:room - frequencies.sum()]
    frequencies[largest_remainders] += 1
    return frequencies + 1


def default_engine():
    """The compiled engine, or the package where numba is missing."""
    try:
        import engine_compiled
        return engine_compiled
    except ImportError:
        import engine_package
        return engine_package


def encode(values, bank, engine=None):
    """Bytes that hold the integers `values`, any of 64 bits, of shape (C, N), channel c coded by model c."""
    values = np.asarray(values, np.int64)
    symbols = values - bank.lowest[:, None] + 1
    # The middle test catches the wrap-around of integers at the ends of 64 bits.
    inside = (symbols >= 1) & (values >= bank.lowest[:, None]) & (symbols < bank.sizes[:, None])
    escaped = values[~inside].tolist()
    symbols = np.where(inside, symbols, ESCAPE).astype(np.int32)

    head = bytearray(_varint(len(escaped)))
    for value in escaped:
        head += _varint(value << 1 if value >= 0 else ~(value << 1))
    code = (engine or default_engine()).encode(symbols.ravel(), _contexts(bank, values.shape[1]), bank.frequencies)
    return bytes(head) + code


def decode(payload, bank, count, engine=None):
    """The integers, int64 (C, count), that `encode` put into `payload`; raises PayloadError if damaged."""
    escapes, position = _read_varint(payload, 0)
    escaped = []
    for _ in range(escapes):  # each takes a byte at least, so a false number ends with the payload
        value, position = _read_varint(payload, position)
        escaped.append(value >> 1 if value % 2 == 0 else ~(value >> 1))
    contexts = _contexts(bank, count)
    symbols = (engine or default_engine()).decode(payload[position:], contexts, bank.frequencies)
    if symbols is None:
        raise PayloadError("the payload ends too early")
    symbols = symbols.reshape(len(bank.lowest), count)
    values = symbols + (bank.lowest.astype(np.int64)[:, None] - 1)
    is_escape = symbols == ESCAPE
    if np.count_nonzero(is_escape) != escapes:
        raise PayloadError("the payload is damaged")
    values[is_escape] = escaped
    return values


def _contexts(bank, count):
    return np.repeat(np.arange(len(bank.lowest), dtype=np.int32), count)


def _varint(value):
    """LEB128: seven bits a byte, least significant first, the high bit set on all but the last."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data, position):
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise PayloadError("the payload ends too early")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= 1 << 64:
                break
            return value, position
    raise PayloadError("the payload is damaged")
