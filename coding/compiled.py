"""What the two compiled engines share: the state of a coder from one call of its loop to the next."""

import abc

import numpy as np

TOP = 0xFFFF  # of the range, at the start


class _Coder:
    """Adaptive models, and the state of the arithmetic coder; frequencies (M, S) are the models' start."""

    def __init__(self, frequencies: np.ndarray):
        frequency = frequencies.astype(np.int32, order="C")
        sizes, totals = np.count_nonzero(frequency, axis=1), frequency.sum(1, dtype=np.int64)
        self._models = frequency / 4096, frequency, sizes, totals
        self._state = np.array([0, TOP, 0, 0])  # low, high, and what `_encode` and `_decode` say


class Writer(_Coder, abc.ABC):
    """Codes symbols piece by piece."""

    def __init__(self, frequencies: np.ndarray):
        super().__init__(frequencies)
        self._code, self._begun = bytearray(), 0  # whole bytes, and the one that is begun

    def write(self, symbols: np.ndarray, contexts: np.ndarray) -> None:
        """Code symbols (n,) with the models that contexts (n,) choose."""
        symbols, contexts = (np.ascontiguousarray(array, np.int16) for array in (symbols, contexts))
        bits = self._state[2:].sum().item()
        out = np.zeros(2 * len(symbols) + bits // 8 + 2, np.uint8)  # a symbol makes 16 bits at most
        out[0] = self._begun
        self._encode(symbols, contexts, self._models, self._state, out)
        whole, self._state[3] = divmod(self._state[3].item(), 8)
        self._code += out[:whole].tobytes()
        self._begun = out[whole]

    def close(self) -> bytes:
        """The code of all: a 1 bit ends it, and the pending bits, which are zeros."""
        pending, bits = self._state[2:].tolist()
        last = int(self._begun) | 0x80 >> bits
        return bytes(self._code) + bytes([last]) + bytes((bits + pending) // 8)

    @staticmethod
    @abc.abstractmethod
    def _encode(symbols, contexts, models, state, out):
        """Put the code of symbols into `out`; state: low, high, pending bits, and bits in `out`."""


class Reader(_Coder, abc.ABC):
    """Reads `code`, written by a Writer with the same `frequencies`, piece by piece."""

    def __init__(self, code: bytes, frequencies: np.ndarray):
        super().__init__(frequencies)
        self._code = np.frombuffer(code, np.uint8)

    def read(self, contexts: np.ndarray) -> np.ndarray | None:
        """The next symbols, int32 (n,), for contexts (n,), or None where the code ends before they do."""
        contexts, symbols = np.ascontiguousarray(contexts, np.int16), np.empty(len(contexts), np.int32)
        is_whole = self._decode(self._code, contexts, self._models, self._state, symbols)
        return symbols if is_whole else None

    @staticmethod
    @abc.abstractmethod
    def _decode(code, contexts, models, state, symbols):
        """Fill `symbols`; returns whether they are in the code; state: low, high, value, bits read."""
