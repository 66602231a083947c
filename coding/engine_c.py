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

from coding import compiled
from coding.files import replacing

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "engine.c")
FLAGS = ("-O2", "-shared", "-fPIC", "-ffp-contract=off", "-fno-math-errno")


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
    array, count, models = ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(_Models)
    library.encode.argtypes, library.encode.restype = [array, array, count, models, array, array], None
    library.decode.argtypes = [array, count, array, count, models, array, array]
    library.decode.restype = ctypes.c_int32
    return library


_LIBRARY = _load()


def _models(arrays):
    """Adaptive models as the library takes them; good for as long as the arrays are."""
    return _Models(*(array.ctypes.data for array in arrays), arrays[0].shape[1])


class Writer(compiled.Writer):
    """Codes symbols piece by piece."""

    @staticmethod
    def _encode(symbols, contexts, models, state, out):
        _LIBRARY.encode(
            symbols.ctypes.data,
            contexts.ctypes.data,
            len(symbols),
            _models(models),
            state.ctypes.data,
            out.ctypes.data,
        )


class Reader(compiled.Reader):
    """Reads what a Writer wrote, piece by piece."""

    @staticmethod
    def _decode(code, contexts, models, state, symbols):
        return _LIBRARY.decode(
            code.ctypes.data,
            len(code),
            contexts.ctypes.data,
            len(contexts),
            _models(models),
            state.ctypes.data,
            symbols.ctypes.data,
        )
