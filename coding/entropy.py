"""Integers to bits and back, with a bank of adaptive models and a context for each integer that chooses one.

The context is what `latents.py` chooses. A model's alphabet is the range of integers that training met,
plus an escape. Every model starts from the probabilities found in training and forgets them slowly for
those of the image. A payload is

    varint n | n escaped integers as zigzag varints | arithmetic code of all symbols, in coding order

Three engines write the same bytes: `engine_package` is the package arithmetic-compressor itself; `engine_c`
is the same arithmetic in C, some hundred times faster, where there is a compiler; `engine_numba` is as fast
where there is none, and takes a second to start.
"""

import contextlib
import dataclasses
import functools
import importlib
from collections.abc import Iterable
from types import ModuleType

import numpy as np

from coding.errors import UserError

SCALE = 4096  # probabilities are multiples of 1/4096 at the start, and never less
ESCAPE = 0  # the symbol of an integer outside the alphabet
ESCAPE_BITS = 16  # of a varint for most integers
MAX_ALPHABET = 2048  # keeps the total frequency well inside the coder's 16-bit range


class PayloadError(UserError):
    """A payload that no encoder wrote."""


@dataclasses.dataclass(frozen=True)
class Bank:
    """Initial state of C adaptive models, one for each context.

    lowest: int32 (C,), the integer of symbol 1; symbol 0 is the escape.
    frequencies: int16 (C, S), initial probabilities in 1/4096, at least 1, then zeros past the
    model's own alphabet. Raises ValueError when they do not make a bank.
    """

    lowest: np.ndarray
    frequencies: np.ndarray

    def __post_init__(self):
        if self.lowest.dtype != np.int32 or self.frequencies.dtype != np.int16 or self.frequencies.ndim != 2:
            raise ValueError("bank has the wrong type")
        count, symbols = self.frequencies.shape
        if self.lowest.shape != (count,) or not 2 <= symbols <= MAX_ALPHABET:
            raise ValueError("bank has the wrong shape")
        used = np.arange(symbols) < self.sizes[:, None]
        if (self.sizes < 2).any() or ((self.frequencies > 0) != used).any():
            raise ValueError("bank has a symbol of no probability")
        if (self.frequencies.sum(1, dtype=np.int64) > SCALE + self.sizes).any():
            raise ValueError("bank has probabilities of more than one in all")

    def __len__(self):
        return len(self.lowest)

    @property
    def flat(self) -> np.ndarray:
        """The frequencies of all alphabets one after the other, int16 (F,)."""
        return self.frequencies[self.frequencies > 0]

    @classmethod
    def from_flat(
        cls,
        lowest: np.ndarray,
        sizes: np.ndarray,
        frequencies: np.ndarray,
    ) -> "Bank":
        """The bank of `lowest` and `flat` frequencies; sizes: of the alphabets, int16 (C,).

        Raises ValueError when they do not make a bank.
        """
        if sizes.shape != lowest.shape or not ((sizes >= 2) & (sizes <= MAX_ALPHABET)).all():
            raise ValueError("bank has the wrong shape")
        if frequencies.shape != (sizes.sum(dtype=np.int64),):
            raise ValueError("bank has the wrong shape")
        rows = np.zeros((len(sizes), sizes.max()), frequencies.dtype)
        rows[np.arange(sizes.max()) < sizes[:, None]] = frequencies
        return cls(lowest, rows)

    @property
    def sizes(self) -> np.ndarray:
        """Symbols in each model's alphabet, the escape included, int (C,)."""
        return np.count_nonzero(self.frequencies, axis=1)

    @classmethod
    def from_weights(
        cls,
        weights: Iterable[tuple[int, np.ndarray]],
        rare: float = 2e-5,
    ) -> "Bank":
        """A bank of pairs (integer, weights (n,) of this and the next ones), one for each model.

        Integers outside the range of shares above `rare` are escaped: at 1/4096 the slot of a symbol that
        never comes costs all others 0.00035 bits each, as much as escaping one latent in 50,000.
        """
        lowest, rows = [], []
        for base, counts in weights:
            first, last = np.flatnonzero(counts > rare * counts.sum())[[0, -1]]
            last = min(last, first + MAX_ALPHABET - 2)
            inside = counts[first : last + 1]
            lowest.append(base + first)
            rows.append(_to_frequencies(np.concatenate([[counts.sum() - inside.sum()], inside])))
        frequencies = np.zeros((len(rows), max(map(len, rows))), np.int16)
        for row, filled in zip(frequencies, rows):
            row[: len(filled)] = filled
        return cls(np.array(lowest, np.int32), frequencies)

    def code_lengths(self, values: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        """Bits, float64 (n,), of integers `values` (n,) in contexts (n,) under the initial probabilities.

        The models adapt to a picture, so that their sum is near the size of a payload and not equal to it.
        """
        symbols = values - self.lowest[contexts] + 1
        inside = (symbols >= 1) & (symbols < self.sizes[contexts])
        shares = self.frequencies[contexts, np.where(inside, symbols, ESCAPE)] / SCALE
        return np.where(inside, 0, ESCAPE_BITS) - np.log2(shares)


def _to_frequencies(counts):
    """Integers of at least 1, in proportion to counts (S,), that sum to 4096."""
    room = SCALE - len(counts)
    exact = counts * (room / counts.sum())
    frequencies = np.floor(exact).astype(np.int64)
    largest_remainders = np.argsort(frequencies - exact, kind="stable")[: room - frequencies.sum()]
    frequencies[largest_remainders] += 1
    return frequencies + 1


@functools.cache
def default_engine() -> ModuleType:
    """The first of the engines that works here, fast ones before the package."""
    for name in ("coding.engine_c", "coding.engine_numba"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return importlib.import_module("coding.engine_package")


class Writer:
    """Makes a payload of integers, piece by piece."""

    def __init__(self, bank: Bank, engine: ModuleType | None = None):
        self._lowest, self._inside = bank.lowest.astype(np.int64), bank.sizes.astype(np.uint64) - 1
        self._escapes, self._escaped = 0, bytearray()
        self._engine = (engine or default_engine()).Writer(bank.frequencies)

    def write(self, values: np.ndarray, contexts: np.ndarray) -> None:
        """Code integers (n,), any of 64 bits, in contexts (n,)."""
        contexts, values = np.asarray(contexts, np.int16), np.asarray(values).astype(np.int64)
        # Seen as unsigned, a negative difference is large, and so is one that wraps around at the ends of 64
        # bits.
        above = (values - self._lowest[contexts]).view(np.uint64)
        outside = np.flatnonzero(above >= self._inside[contexts])
        symbols = (above + np.uint64(1)).astype(np.int16)
        symbols[outside] = ESCAPE
        self._escapes += len(outside)
        for value in values[outside].tolist():
            self._escaped += _varint(value << 1 if value >= 0 else ~(value << 1))
        self._engine.write(symbols, contexts)

    def close(self) -> bytes:
        """The payload of all."""
        return _varint(self._escapes) + bytes(self._escaped) + self._engine.close()


class Reader:
    """Reads what a Writer wrote, piece by piece; its methods raise PayloadError if the payload is damaged."""

    def __init__(
        self,
        payload: bytes,
        bank: Bank,
        engine: ModuleType | None = None,
    ):
        count, position = _read_varint(payload, 0)
        self._escaped = []
        for _ in range(count):  # each takes a byte at least, so a false number ends with the payload
            value, position = _read_varint(payload, position)
            self._escaped.append(value >> 1 if value % 2 == 0 else ~(value >> 1))
        self._taken, self._below = 0, bank.lowest.astype(np.int64) - 1
        self._engine = (engine or default_engine()).Reader(payload[position:], bank.frequencies)

    def read(self, contexts: np.ndarray) -> np.ndarray:
        """The next integers, int64 (n,), which were coded in the contexts (n,)."""
        contexts = np.asarray(contexts, np.int16)
        symbols = self._engine.read(contexts)
        if symbols is None:
            raise PayloadError("the payload ends too early")
        values = self._below[contexts] + symbols
        is_escape = np.flatnonzero(symbols == ESCAPE)
        escaped = self._escaped[self._taken : self._taken + len(is_escape)]
        if len(escaped) != len(is_escape):
            raise PayloadError("the payload is damaged")
        values[is_escape] = escaped
        self._taken += len(escaped)
        return values

    def close(self) -> None:
        """To be called when all is read: the payload must hold no more."""
        if self._taken != len(self._escaped):
            raise PayloadError("the payload is damaged")


def _varint(value):
    """LEB128: seven bits a byte, least significant first, the high bit set on all but the last."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data, position):
    """The number at `position` of the bytes `data`, below 2^64, and the position after it."""
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
