"""An engine of `coding/entropy.py` for comparison: the range coder of the package constriction.

Its models are static, one for each context, with the starting probabilities of the adaptive ones. The symbols
are coded context by context, each with one call, which is the package's fastest way. A codec could not do so:
which context comes next is only known from what is decoded.
"""

import numpy as np
from constriction import stream


def _models(frequencies):
    rows = [row[row > 0].astype(np.float32) for row in frequencies]
    return [stream.model.Categorical(row / row.sum(), perfect=False) for row in rows]


def _groups(contexts):
    """Places (n,) of contexts (n,) in the order of these, and pairs of a context and its slice of them."""
    order = np.argsort(contexts, kind="stable")
    used, firsts = np.unique(contexts[order], return_index=True)
    ends = np.append(firsts[1:], len(contexts))
    return order, [(context, slice(*ends)) for context, ends in zip(used, zip(firsts, ends))]


class Writer:
    """Codes symbols, all at once, with models of frequencies (M, S)."""

    def __init__(self, frequencies: np.ndarray):
        self._models, self._encoder = _models(frequencies), stream.queue.RangeEncoder()

    def write(self, symbols: np.ndarray, contexts: np.ndarray) -> None:
        """Code symbols (n,) with the models that contexts (n,) choose."""
        order, groups = _groups(contexts)
        sorted_symbols = symbols[order].astype(np.int32)
        for context, group in groups:
            self._encoder.encode(sorted_symbols[group], self._models[context])

    def close(self) -> bytes:
        """The code of all."""
        return self._encoder.get_compressed().astype("<u4").tobytes()


class Reader:
    """Reads `code`, written by a Writer with the same `frequencies`, all at once."""

    def __init__(self, code: bytes, frequencies: np.ndarray):
        self._models = _models(frequencies)
        self._decoder = stream.queue.RangeDecoder(np.frombuffer(code, "<u4").astype(np.uint32))

    def read(self, contexts: np.ndarray) -> np.ndarray:
        """All symbols, int32 (n,), for contexts (n,)."""
        symbols = np.empty(len(contexts), np.int32)
        order, groups = _groups(contexts)
        for context, group in groups:
            symbols[order[group]] = self._decoder.decode(self._models[context], group.stop - group.start)
        return symbols
