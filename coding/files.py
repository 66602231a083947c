"""Files that are written whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator

from coding.errors import UserError

_DESCRIPTORS = ("/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


def is_stream(path: str) -> bool:
    """Whether a path is a device, a pipe or what a process has open: it is written to, and never replaced."""
    is_special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    return is_special or os.fspath(path).startswith(_DESCRIPTORS)


def check(path: str) -> None:
    """Raise UserError if no file can replace `path`: a folder, a stream, or what must not change.

    Or if its folder, which may be missing, cannot have it.
    """
    if os.path.isdir(path):
        raise UserError(f"{path}: is a folder")
    if is_stream(path):
        raise UserError(f"{path}: is not a file that can be replaced")
    if os.path.islink(os.path.realpath(path)):
        raise UserError(f"{path}: is a link that leads nowhere")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise UserError(f"{path}: is write-protected")
    folder = os.path.dirname(os.path.realpath(path))
    while not os.path.exists(folder):  # it will be made
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise UserError(f"{path}: a file is in the place of its folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path}: its folder is write-protected")


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """The name of a new file that becomes `path` when the block ends well, and is removed when it does not.

    It lies beside `path`, or beside the file that this links to, and gets the permissions of what it
    replaces. Makes the folder if it is missing. Raises UserError as `check`, and OSError that names `path`.
    """
    check(path)
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    # No part of the name is in it, which may be as long as a name can be.
    temporary = os.path.join(folder, f".{os.urandom(4).hex()}.tmp")
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        if os.path.exists(target):
            with contextlib.suppress(OSError):  # not every filesystem has them
                shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary):
            error.filename, error.filename2 = path, None
        raise
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


def write(path: str, content: bytes) -> None:
    """Write bytes to `path`, a file or a stream; raises as `replacing`."""
    if is_stream(path):
        with open(path, "ab") as file:  # what a process has open can be a file with something in it
            file.write(content)
        return
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
