"""What only the scripts share: errors as one line, exit codes, devices by name.

Only light imports, so that `--help` answers at once.
"""

import os
import sys
import traceback
from collections.abc import Callable

from coding.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
DEVICE_HELP = "where the networks run (default: auto, a GPU if there is one)"
DEBUG = "AUTOCOMPRESSOR_DEBUG"  # set it to 1 to see where an error comes from


def run(main: Callable[[], None]) -> None:
    """Call main() and exit: 0, or 1 after one line on stderr.

    An error that the user can mend is told as it is. Any other is a fault of the program: the line asks for a
    report.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get(DEBUG) == "1":
            traceback.print_exc()
        fatal(_message(error))


def _message(error):
    """What the user is told of an error."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or _is_lack_of_memory(str(error)):
        return "not enough memory"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    return (
        f"a fault of the program, {type(error).__name__}: {error}; please report it with what "
        f"{DEBUG}=1 shows, which is where it comes from"
    )


def _is_lack_of_memory(message):
    """Whether an error of PyTorch, which has a type for this on GPUs alone, says that memory is short."""
    return "can't allocate memory" in message or "out of memory" in message


def fatal(message: str) -> None:
    """Write one line on stderr and exit with code 1."""
    _say(f"error: {' '.join(message.split())}")
    sys.exit(1)


def warn(message: str) -> None:
    """Write one line on stderr."""
    _say(f"warning: {message}")


def _say(line):
    print(f"{os.path.basename(sys.argv[0])}: {line}", file=sys.stderr)


def pick_device(name: str) -> str:
    """ "cpu" or "cuda" for the --device "auto", "cpu" or "cuda"."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda: no CUDA device is available")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
