"""Butteraugli, a distance for the eye, by the program of libjxl, where it is installed."""

import functools
import os
import re
import shutil
import subprocess
import tempfile

from PIL import Image

PROGRAM = "butteraugli_main"
SMALLEST_SIDE = 8  # the program finds smaller pictures equal


def path() -> str | None:
    """Where the program is, or None; Debian's package libjxl-devtools has it."""
    return shutil.which(PROGRAM)


@functools.cache
def works() -> bool:
    """Whether the program that is there finds equal pictures equal."""
    black = Image.new("RGB", (SMALLEST_SIDE, SMALLEST_SIDE))
    return distance(black, black) is not None


def distance(image: Image.Image, reference: Image.Image) -> float | None:
    """The 3-norm of the map of distances, 0 or more, between two RGB or gray Pillow images of one size.

    Alakuijala et al. 2017, "Guetzli: perceptually guided JPEG encoder". None if a side is below
    SMALLEST_SIDE, or where the program fails.
    """
    if min(image.size) < SMALLEST_SIDE:
        return None
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("reference.png", "image.png")]
        for picture, target in zip((reference, image), paths):
            picture.convert("RGB").save(target, compress_level=0)
        done = subprocess.run([PROGRAM, *paths], capture_output=True, text=True)
    found = re.search(r"^3-norm: (\S+)$", done.stdout, re.M)
    return float(found[1]) if found else None
