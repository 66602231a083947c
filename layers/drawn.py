"""Which blocks of a picture look as if a lossless coder took few bytes for them, or as if no transform could.

This is a quick look, which photographs pass without a mark. `choice.py` decides about what is marked.
"""

import dataclasses

import numpy as np

from coding.tiles import STRIDE
from pictures.picture import Picture

BAND = 16  # rows of blocks that are looked at together
REPEATED = 0.5  # most of new pixels, as a share, in a block that repeats itself
CLEAN = 0.1  # the same, in a drawing of lines and areas
STEP = 32  # levels between neighbours at an edge
STEPS = 0.1  # share of the neighbours, at least, between which text has edges
DRAWN = 1 / 40  # share of the blocks, at least, that are drawn in a picture that is no photograph
LEAST = 4  # blocks, at least
FLAT = 1 / 10  # share of the blocks, at least, that are flat in a picture where this is looked at


@dataclasses.dataclass(frozen=True)
class Looks:
    """What blocks look like, each array (h, w).

    new: share of their pixels that are equal to none of the two to the left and the two above
    drawn: bool, they have edges as text and drawings have
    detail: mean square of the finest diagonal detail of green, in levels: what a transform that leaves it out
    has as an error, at least
    """

    new: np.ndarray
    drawn: np.ndarray
    detail: np.ndarray

    @property
    def repeated(self) -> np.ndarray:
        """Which blocks repeat themselves, bool (h, w)."""
        return self.new <= REPEATED

    @property
    def flat(self) -> np.ndarray:
        """Which blocks are of one colour, bool (h, w): the first pixel of a picture repeats none."""
        return self.new <= 1 / STRIDE**2

    @property
    def is_photograph(self) -> bool:
        """Whether too few blocks are drawn or flat to look further."""
        size = self.drawn.size
        return self.drawn.sum() < min(max(LEAST, DRAWN * size), -(-size // LEAST)) and self.flat.mean() < FLAT


def look(picture: Picture) -> Looks:
    """What the blocks of a picture look like."""
    rows, columns = (-(-side // STRIDE) for side in (picture.metadata.height, picture.metadata.width))
    width = slice(0, columns * STRIDE)
    bands = [
        _look(picture.window(slice(top * STRIDE, min(top + BAND, rows) * STRIDE), width))
        for top in range(0, rows, BAND)
    ]
    return Looks(*map(np.concatenate, zip(*bands)))


def _look(pixels):
    """The arrays of Looks for pixels (16 h, 16 w, 3)."""
    new = _blocks(~_repeats(pixels)).mean((2, 3))
    drawn, repeated = np.zeros(new.shape, bool), new <= REPEATED
    steps = _steps(_blocks(pixels)[repeated])
    drawn[repeated] = (steps >= STEPS) | ((steps > 0) & (new[repeated] <= CLEAN))
    return new, drawn, _detail(pixels[:, :, 1])


def _blocks(array):
    """(16 h, 16 w, ...) as (h, w, 16, 16, ...)."""
    rows, columns = (side // STRIDE for side in array.shape[:2])
    return array.reshape(rows, STRIDE, columns, STRIDE, *array.shape[2:]).swapaxes(1, 2)


def _repeats(pixels):
    """Which pixels are equal to one that is one or two to the left or above, bool (H, W)."""
    colours = np.zeros(pixels.shape[:2], np.uint32)
    for channel in range(3):
        colours = colours << 8 | pixels[:, :, channel]
    repeats = np.zeros(colours.shape, bool)
    for distance in (1, 2):
        repeats[:, distance:] |= colours[:, distance:] == colours[:, :-distance]
        repeats[distance:] |= colours[distance:] == colours[:-distance]
    return repeats


def _steps(blocks):
    """The share of neighbours that differ by STEP levels in each of some blocks (n, 16, 16, 3)."""
    levels = blocks.astype(np.int16)
    steps = ((np.abs(np.diff(levels, axis=axis)) >= STEP).any(3).mean((1, 2)) for axis in (1, 2))
    return sum(steps) / 2


def _detail(green):
    """The mean square of the diagonal detail of each block, float32 (h, w)."""
    green = green.astype(np.float32)
    detail = green[::2, ::2] - green[::2, 1::2] - green[1::2, ::2] + green[1::2, 1::2]
    rows, columns = (side // STRIDE for side in green.shape)
    # Of the four numbers of a square the detail is one, of half this length.
    return (detail**2).reshape(rows, STRIDE // 2, columns, STRIDE // 2).mean((1, 3)) / 16
