"""The reference engine: the package arithmetic-compressor, one SimpleAdaptiveModel for each context."""

import numpy as np
from arithmetic_compressor import arithmetic_coding
from arithmetic_compressor.models.base_adaptive_model import SimpleAdaptiveModel


class _Exhausted(Exception):
    pass


class _BoundedReader(arithmetic_coding.Decoder):
    """Reads zeros past the end, as the package does, but no more than the 15 that an encoder relies on."""

    spare = 15

    def read_code_bit(self):
        if not self.input:
            if self.spare == 0:
                raise _Exhausted
            self.spare -= 1
            return 0
        return self.input.popleft()


def _models(frequencies):
    return [SimpleAdaptiveModel({s: int(f) / 4096 for s, f in enumerate(row) if f}) for row in frequencies]


class Writer:
    """Codes symbols piece by piece; frequencies (M, S) are the start of the models."""

    def __init__(self, frequencies: np.ndarray):
        self._models, self._encoder = _models(frequencies), arithmetic_coding.Encoder()

    def write(self, symbols: np.ndarray, contexts: np.ndarray) -> None:
        """Code symbols (n,) with the models that contexts (n,) choose."""
        for symbol, context in zip(symbols.tolist(), contexts.tolist()):
            self._encoder.encode_symbol(self._models[context].cdf(), symbol)
            self._models[context].update(symbol)

    def close(self) -> bytes:
        """The code of all."""
        self._encoder.finish()
        # The package drops pending underflow bits, which are zeros after its closing 1. Written, they
        # let a decoder know how far a payload may be read.
        bits = self._encoder.get_encoded() + [0] * self._encoder.num_underflow
        return np.packbits(np.array(bits, np.uint8)).tobytes()


class Reader:
    """Reads `code`, written by a Writer with the same `frequencies`, piece by piece."""

    def __init__(self, code: bytes, frequencies: np.ndarray):
        self._models = _models(frequencies)
        try:
            self._reader = _BoundedReader(np.unpackbits(np.frombuffer(code, np.uint8)).tolist())
        except _Exhausted:
            self._reader = None

    def read(self, contexts: np.ndarray) -> np.ndarray | None:
        """The next symbols, int32 (n,), for contexts (n,), or None where the code ends before they do."""
        if self._reader is None:
            return None
        symbols = np.empty(len(contexts), np.int32)
        try:
            for i, context in enumerate(contexts.tolist()):
                symbols[i] = self._reader.decode_symbol(self._models[context].cdf())
                self._models[context].update(int(symbols[i]))
        except _Exhausted:
            return None
        return symbols
