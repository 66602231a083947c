"""Integers to bits and back, with a bank of adaptive models and a context for each integer that chooses one.

The context is what `latent_coder.py` chooses, or in files of an earlier version the channel. A model's
alphabet is the range of integers that training met, plus an escape. Every model starts from the
probabilities found in training and forgets them slowly for those of the image. A payload is

    varint n | n escaped integers as zigzag varints | arithmetic code of all symbols, in coding order

Two engines write the same bytes: `engine_package` is the package arithmetic-compressor itself,
`engine_compiled` the same arithmetic in a compiled loop, some hundred times faster.
"""
import dataclasses

import numpy as np

SCALE = 4096  # probabilities are multiples of 1/4096 at the start, and never less
ESCAPE_BITS = 16  # of a varint for most integers
CHUNK = 1 << 20  # integers that are looked at together, so that they need little memory
MAX_ALPHABET = 2048  # keeps the total frequency well inside the coder's 16-bit range
ESCAPE = 0


class PayloadError(ValueError):
    """A payload that no encoder wrote; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Bank:
    """Initial state of C adaptive models, one for each channel or context.

    lowest: int32 (C,), the integer of symbol 1; symbol 0 is the escape.
    frequencies: int16 (C, S), initial probabilities in 1/4096, at least 1, then zeros past the
    model's own alphabet. Raises ValueError when they do not make a bank.
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

    @classmethod
    def from_weights(cls, weights, rare=2e-5):
        """A bank of pairs (integer, weights (n,) of this and the next ones), one for each model.

        Integers outside the range of shares above `rare` are escaped: at 1/4096 the slot of a symbol that never
        comes costs all others 0.00035 bits each, as much as escaping one latent in 50,000.
        """
        lowest, rows = [], []
        for base, counts in weights:
            kept = np.flatnonzero(counts > rare * counts.sum())[[0, -1]]
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
    return encode_in_context(values.ravel(), _contexts(bank, values.shape[1]), bank, engine)


def encode_in_context(values, contexts, bank, engine=None):
    """Bytes that hold the integers `values` (n,), any of 64 bits, coded by the models `contexts` (n,)."""
    contexts, values = np.asarray(contexts, np.int16), np.asarray(values)
    lowest, inside = bank.lowest.astype(np.int64), bank.sizes.astype(np.uint64) - 1
    symbols, escaped = np.empty(len(contexts), np.int16), []  # large arrays of a large picture
    for start in range(0, len(contexts), CHUNK):
        part = slice(start, start + CHUNK)
        # Seen as unsigned, a negative difference is large, and so is one that wraps around at the ends of 64 bits.
        above = (values[part].astype(np.int64) - lowest[contexts[part]]).view(np.uint64)
        outside = np.flatnonzero(above >= inside[contexts[part]])
        escaped += values[part][outside].tolist()
        symbols[part] = above + np.uint64(1)
        symbols[part][outside] = ESCAPE

    head = bytearray(_varint(len(escaped)))
    for value in escaped:
        head += _varint(value << 1 if value >= 0 else ~(value << 1))
    return bytes(head) + (engine or default_engine()).encode(symbols, contexts, bank.frequencies)


def decode(payload, bank, count, engine=None):
    """The integers, int64 (C, count), that `encode` put into `payload`; raises PayloadError if damaged."""
    decoder = Decoder(payload, bank, engine)
    values = decoder.decode(_contexts(bank, count))
    decoder.close()
    return values.reshape(len(bank.lowest), count)


class Decoder:
    """Reads what `encode_in_context` wrote, piece by piece; its methods raise PayloadError if it is damaged."""

    def __init__(self, payload, bank, engine=None):
        escapes, position = _read_varint(payload, 0)
        self._escaped = []
        for _ in range(escapes):  # each takes a byte at least, so a false number ends with the payload
            value, position = _read_varint(payload, position)
            self._escaped.append(value >> 1 if value % 2 == 0 else ~(value >> 1))
        self._taken, self._below = 0, bank.lowest.astype(np.int64) - 1
        self._engine = (engine or default_engine()).Decoder(payload[position:], bank.frequencies)

    def decode(self, contexts):
        """The next integers, int64 (n,), which were coded by the models `contexts` (n,)."""
        contexts = np.asarray(contexts, np.int16)
        symbols = self._engine.decode(contexts)
        if symbols is None:
            raise PayloadError("the payload ends too early")
        values = self._below[contexts] + symbols
        is_escape = np.flatnonzero(symbols == ESCAPE)
        escaped = self._escaped[self._taken:self._taken + len(is_escape)]
        if len(escaped) != len(is_escape):
            raise PayloadError("the payload is damaged")
        values[is_escape] = escaped
        self._taken += len(escaped)
        return values

    def close(self):
        """To be called when all is read."""
        if self._taken != len(self._escaped):
            raise PayloadError("the payload is damaged")


def _contexts(bank, count):
    return np.repeat(np.arange(len(bank.lowest), dtype=np.int16), count)


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
