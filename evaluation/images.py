"""Which image files are measured, and by which names."""

import collections
import logging
import os

from coding.errors import UserError
from pictures.reading import EXTENSIONS

logger = logging.getLogger(__name__)


def find(paths: list[str]) -> list[tuple[str, str]]:
    """Pairs of path and name: the files named in `paths`, and the images in its folders by name.

    A file's name is its path where two have the same one. Logs which folders hold no image, and raises
    UserError if nothing is found.
    """
    files, empty = [], []
    for path in paths:
        found = _images_in(path) if os.path.isdir(path) else [path]
        files += found
        if not found:
            empty.append(f"{path}: no images there")
    if not files:
        raise UserError(", ".join(empty))
    for line in empty:
        logger.warning(line)
    files = list(dict.fromkeys(files))
    count = collections.Counter(os.path.basename(path) for path in files)
    return [(path, path if count[os.path.basename(path)] > 1 else os.path.basename(path)) for path in files]


def _images_in(folder):
    return [
        os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.lower().endswith(EXTENSIONS)
    ]
