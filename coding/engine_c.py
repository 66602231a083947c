"""The fast engine: `engine.c`, compiled once with the machine's C compiler and kept in the user's cache.

Raises ImportError where there is no compiler, or no place to keep what it makes. No fast-math and no fused
operations: the doubles are those of the package on every machine, and a property test holds them to that.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess

import numpy as np

from coding.files import replacing

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "engine.c")
FLAGS = ("-O2", "-shared", "-fPIC", "-ffp-contract=off", "-fno-math-errno")
TOP = 0xFFFF


class _Models(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("p", "frequency", "sizes", "totals")]
    _fields_.append(("width", ctypes.c_int64))


def _compile():
    """The path of the shared library, made if it is not there."""
    with open(SOURCE, "rb") as file:
        source = file.read()
    name = hashlib.sha256(repr((source, FLAGS, platform.machine(), platform.system())).encode()).hexdigest()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = os.path.join(cache, "autocompressor", f"engine-{name[:16]}.so")
    if not os.path.exists(path):
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            raise ImportError("no C compiler")
        with replacing(path) as temporary:
            command = [compiler, *FLAGS, SOURCE, "-lm", "-o", temporary]
            subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return path


def _load():
    """The library's `encode` and `decode`."""
    try:
        library = ctypes.CDLL(_compile())
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise ImportError(f"the engine could not be compiled ({error})") from error
    array, count = ctypes.c_void_p, ctypes.c_int64
    models = ctypes.POINTER(_Models)
    library.encode.argtypes, library.encode.restype = [array, array, count, models, array], count
    library.decode.argtypes = [array, count, array, count, models, array, array]
    library.decode.restype = ctypes.c_int32
    return library


_LIBRARY = _load()


class _Start:
    """Adaptive models before the first symbol; what `models` points to lives as long as this."""

    def __init__(self, frequencies):
        self.frequency = frequencies.astype(np.int32, order="C")
        self.p, self.sizes = self.frequency / 4096, np.count_nonzero(self.frequency, axis=1)
        self.totals = self.frequency.sum(1, dtype=np.int64)
        arrays = self.p, self.frequency, self.sizes, self.totals
        self.models = _Models(*(array.ctypes.data for array in arrays), self.frequency.shape[1])


def encode(symbols: np.ndarray, contexts: np.ndarray, frequencies: np.ndarray) -> bytes:
    """Code symbols (n,) with the models that contexts (n,) choose; frequencies (M, S) are their start."""
    start = _Start(frequencies)
    symbols, contexts = (np.ascontiguousarray(array, np.int16) for array in (symbols, contexts))
    out = np.zeros(2 * len(symbols) + 8, np.uint8)  # a symbol shifts the 16-bit range by 16 at most
    bits = _LIBRARY.encode(
        symbols.ctypes.data, contexts.ctypes.data, len(symbols), start.models, out.ctypes.data
    )
    return out[: (bits + 7) // 8].tobytes()


class Reader:
    """Reads `code`, written by `encode` with the same `frequencies`, piece by piece."""

    def __init__(self, code: bytes, frequencies: np.ndarray):
        self._code, self._start = np.frombuffer(code, np.uint8), _Start(frequencies)
        self._state = np.array([0, TOP, 0, 0])  # low, high, value, bits read

    def read(self, contexts: np.ndarray) -> np.ndarray | None:
        """The next symbols, int32 (n,), for contexts (n,), or None where the code ends before they do."""
        contexts, symbols = np.ascontiguousarray(contexts, np.int16), np.empty(len(contexts), np.int32)
        is_whole = _LIBRARY.decode(
            self._code.ctypes.data,
            len(self._code),
            contexts.ctypes.data,
            len(contexts),
            self._start.models,
            self._state.ctypes.data,
            symbols.ctypes.data,
        )
        return symbols if is_whole else None
