"""What the scripts share: errors as one line, output files whole or not at all, the shipped models.

Only light imports, so that `--help` answers at once.
"""
import contextlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


class UserError(Exception):
    """Something the user can mend; the message is one line."""


def run(main):
    """Call main() and exit: 0, or 1 after one line on stderr for an error of use or of data."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        fatal(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error)
    except MemoryError:
        fatal("not enough memory")
    except (UserError, ValueError, RuntimeError) as error:
        fatal(error)


def fatal(message):
    """Write one line on stderr and exit with code 1."""
    program = os.path.basename(sys.argv[0])
    print(f"{program}: error: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(1)


@contextlib.contextmanager
def replacing(path):
    """A temporary name beside `path`, moved to `path` when the block ends well, removed when not."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path}: is not a file that can be written")
    folder, name = os.path.split(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


def shipped_model(mode, kind):
    """Path of the "encoder" or "decoder" that comes with the program for a mode."""
    folder = {"hard": "model_B=2", "soft": "model_B=10", "variable": "model_variable"}[mode]
    return os.path.join(HERE, "models", folder, f"{kind}.model")


def pick_device(name):
    """"cpu" or "cuda" for the --device "auto", "cpu" or "cuda"."""
    import torch
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda: no CUDA device is available")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
