"""What only the scripts share: errors as one line, exit codes, devices by name.

Only light imports, so that `--help` answers at once.
"""

import argparse
import contextlib
import ctypes
import logging
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TextIO

from coding import files
from coding.errors import DEBUG, UserError, message_of
from coding.modes import MODES

PIPE = "-"  # in the place of a path
STDOUT = (PIPE, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
ENGINES = ("auto", "onnx", "torch")
DEVICES = ("auto", "cpu", "cuda")
RATE_IS_FIXED = "--quality, --target_bpp and --target_ssimulacra2 need --quantize_mode=variable"
DEVICE_HELP = "where the networks run (default: auto, a GPU if there is one)"

# Of resources/analytics/kodak/results.csv.
SCALE = """what --quality gives photographs, means of the 24 images of Kodak, --tune=eye:
  quality         1     2     3     4     5     6     7     8     9    10
  SSIMULACRA2    12    25    36    48    58    66    73    79    84    93
  bpp          0.11  0.15  0.21  0.30  0.43  0.62  0.86  1.15  1.64  3.49
  PSNR, dB     27.0  27.9  29.0  30.4  32.0  33.7  35.4  37.1  39.2  45.0
"""


def run(main: Callable[[], None]) -> None:
    """Call main() and exit: 0, or 1 after one line on stderr.

    An error that the user can mend is told as it is. Any other is a fault of the program: the line asks for a
    report.
    """
    _prepare_streams()
    end_on_request()
    try:
        main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has gone, and wants no message
        _flush(sys.stdout)
        sys.exit(1)
    except Exception as error:
        if os.environ.get(DEBUG) == "1":
            traceback.print_exc()
        fatal(message_of(error))


def _prepare_streams():
    """Let no standard stream be a reason to fail."""
    # A file of ours must not get the number of one that is closed. Data cannot be written to what it gets.
    while (number := os.open(os.devnull, os.O_RDONLY)) <= 2:
        pass
    os.close(number)
    for name in "stdout", "stderr":
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")  # names may hold any bytes


def end_on_request() -> None:
    """Let SIGTERM end this process as Ctrl-C does, which leaves nothing half-written."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def fatal(message: str) -> None:
    """Write one line on stderr and exit with code 1."""
    _say(f"error: {' '.join(message.split())}")
    _flush(sys.stdout)
    sys.exit(1)


def warn(message: str) -> None:
    """Write one line on stderr."""
    _say(f"warning: {message}")


class _Collector(logging.Handler):
    """Keeps messages: warnings of our modules, and what `pictures` says is lost."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        if not record.name.startswith("PIL"):  # whose readers warn of what they then repair
            self.lines.append(record.getMessage())


@contextlib.contextmanager
def told() -> Iterator[list[str]]:
    """What modules log while the block runs: warnings, and what is lost of a picture."""
    collector = _Collector()
    logging.getLogger("pictures").setLevel(logging.INFO)
    logging.getLogger().addHandler(collector)
    try:
        yield collector.lines
    finally:
        logging.getLogger().removeHandler(collector)


def told_of(path: str, lines: list[str]) -> str:
    """One line of all that was told about a file, or nothing."""
    name = "standard input" if path == PIPE else path
    return f"{name}: {'; '.join(' '.join(line.split()) for line in lines)}" if lines else ""


@contextlib.contextmanager
def warning_of(path: str) -> Iterator[None]:
    """Write one line on stderr of what modules log about a file while the block runs, if it ends well."""
    with told() as lines:
        yield
    if lines:
        warn(told_of(path, lines))


def _say(line):
    _print(f"{os.path.basename(sys.argv[0])}: {line}", sys.stderr)


def _print(line: str, stream: TextIO):
    """Print one line; that a stream does not take it is no failure of the work."""
    with contextlib.suppress(OSError):
        print(" ".join(line.splitlines()), file=stream)
    _flush(stream)


def _flush(stream):
    """Write what was printed, and drop what the stream does not take: Python would try again at its end."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def about(path: str) -> Iterator[None]:
    """Let an error name the file that it is about, where it does not; raises UserError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        raise UserError(named(path, message_of(error))) from error


def named(path: str, message: str) -> str:
    """A message that begins with the file that it is about."""
    return message if message.startswith(f"{path}: ") else f"{path}: {message}"


def add_common_options(add: Callable) -> None:
    """The options that encode.py and decode.py share; add: `add_argument` of a parser."""
    engines = "what runs the networks: ONNX Runtime, or PyTorch (default: auto, the former on the CPU)"
    add("--engine", choices=ENGINES, default="auto", help=engines)
    add("--device", choices=DEVICES, default="auto", help=DEVICE_HELP)
    add("--quiet", action="store_true", help="print nothing on success")
    add("--jobs", type=positive, default=1, metavar="N", help="of a folder: processes (default: 1)")
    add("--overwrite", action="store_true", help="of a folder: make files anew that are there already")
    summary = "of a folder: write sizes, bpp, score if it is a target, seconds and error of each file"
    add("--summary", metavar="CSV", help=summary)


def add_rate_options(add: Callable) -> None:
    """The options that choose a rate of variable mode; add: `add_argument` of a group that excludes."""
    quality = "of variable mode: from 1, the smallest files, to 10, the best; see below (default: 6.5)"
    add("--quality", type=_quality, metavar="Q", help=quality)
    target = "bits per pixel of the whole file that variable mode comes near to, before --effort"
    add("--target_bpp", type=_target, metavar="X", help=target)
    score = (
        "score of the decoded picture, from 0 to 100, that variable mode comes near to, before --effort, by "
        "four codings at most; needs PyTorch, and decoder.model beside"
    )
    add("--target_ssimulacra2", type=_score, metavar="S", help=score)
    add("--lossless", action="store_true", help="keep the colours, in 8 bits, exactly")


def asks_for_rate(args: argparse.Namespace) -> bool:
    """Whether one of the options is given that only variable mode has."""
    return (args.quality, args.target_bpp, args.target_ssimulacra2) != (None, None, None)


def check_mode(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage error where --quantize_mode has no such rate or no model for --tune."""
    mode = MODES[args.quantize_mode]
    if mode.is_fixed and asks_for_rate(args):
        parser.error(RATE_IS_FIXED)
    if args.tune not in (None, *mode.tunes):
        parser.error(f"there is no model of --quantize_mode={mode.name} for --tune={args.tune}")


def positive(text: str) -> int:
    """A number of things that an option gives."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be positive")
    return number


def _number(text):
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _quality(text):
    number = _number(text)
    if not 1 <= number <= 10:
        raise argparse.ArgumentTypeError("must be from 1 to 10")
    return number


def _target(text):
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("must be positive")
    return number


def _score(text):
    number = _number(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError("must be from 0 to 100")
    return number


def read(path: str) -> bytes:
    """The bytes of a file or a stream, or of standard input where `path` is "-"; raises OSError."""
    with open(0 if path == PIPE else path, "rb", closefd=path != PIPE) as file:
        return file.read()


def write(path: str, content: bytes) -> None:
    """Write bytes to `path`, or to standard output where it is "-" or so; raises as files.replacing."""
    if path in STDOUT:
        # A file of its own: what could not be written must not be tried again when Python ends.
        with open(1, "wb", closefd=False) as file:
            file.write(content)
    else:
        files.write(path, content)


def is_stream(path: str) -> bool:
    """Whether an input or an output is no file: "-", a pipe or a device."""
    return path == PIPE or files.is_stream(path)


def tell(message: str, path: str = "") -> None:
    """Print a line, about the output `path`: on stderr where this is standard output itself."""
    _print(message, sys.stderr if path in STDOUT else sys.stdout)


def pick_device(name: str) -> str:
    """ "cpu" or "cuda" for the --device "auto", "cpu" or "cuda"."""
    if name == "cpu" or (name == "auto" and not _has_cuda_driver()):
        return "cpu"
    try:
        import torch
    except ImportError as error:
        if name == "cuda":
            raise UserError("--device=cuda needs PyTorch, which is not installed") from error
        return "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda: no CUDA device is available")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _has_cuda_driver():
    """Whether this machine may have a GPU: PyTorch, which knows, takes longer to import than a picture."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False
