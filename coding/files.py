"""Files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator

from coding.errors import UserError


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """A temporary name beside `path`, moved to `path` when the block ends well and removed when it does not.

    Makes the folder if it is missing. Raises UserError if `path` cannot be a file, and OSError.
    """
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


def write(path: str, content: bytes) -> None:
    """Write bytes to `path`; raises as `replacing`."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
