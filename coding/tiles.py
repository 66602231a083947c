"""Work on a large picture in tiles with margins, so that memory does not grow with it and no seam shows."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from tqdm import tqdm

from coding import order
from coding.order import HYPER_STRIDE

STRIDE = 16  # pixels to a side of one position of the latents
TILE = 96  # latents a side, 1536 pixels
# Latents a side, multiples of 4. A latent depends on pixels up to 177 away, and one of z on 48 more; a pixel
# depends on latents up to 9.25 away.
ANALYSIS_HALO, SYNTHESIS_HALO = 16, 12

Area = tuple[slice, slice]  # rows and columns


@dataclasses.dataclass(frozen=True)
class Tile:
    """A tile of some rows, and the window that it is computed from: the tile and its margins. In latents.

    tile: counted from the first of the rows that are covered; window: in the whole.
    """

    tile: Area
    window: Area
    tile_in_window: Area


def split(
    rows: slice,
    shape: tuple[int, int],
    halo: int,
    side: int = TILE,
) -> list[Tile]:
    """The tiles of side x side latents that cover some rows of a whole, with margins of `halo`.

    shape: (h, w) of the whole.
    """
    down, across = _spans(rows, shape[0], side, halo), _spans(slice(0, shape[1]), shape[1], side, halo)
    return [Tile(*zip(vertical, horizontal)) for vertical in down for horizontal in across]


def _spans(part, length, side, halo):
    """Along one axis: for each tile its slice in the part, that of its window, and its own in the window."""
    spans = []
    for start in range(part.start, part.stop, side):
        stop = min(start + side, part.stop)
        first, last = max(start - halo, 0), min(stop + halo, length)
        inside = slice(start - part.start, stop - part.start)
        spans.append((inside, slice(first, last), slice(start - first, stop - first)))
    return spans


def count(shape: tuple[int, int], side: int = TILE) -> int:
    """The tiles of all stripes of a picture; shape: (h, w) of its latents."""
    return sum(len(split(rows, shape, 0, side)) for rows in order.stripes(*shape))


def widened(rows: slice, height: int, halo: int) -> slice:
    """Rows with `halo` more on each side, as far as the height of the whole goes."""
    return slice(max(rows.start - halo, 0), min(rows.stop + halo, height))


def with_margins(parts: Iterable[np.ndarray], halo: int) -> Iterator[tuple[np.ndarray, slice]]:
    """Consecutive parts of rows, each with `halo` rows of its neighbours, and which rows are its own.

    parts: each of `halo` rows at least, but for the last; at most two are held.
    """
    above = part = None
    for following in itertools.chain(parts, [None]):
        if part is not None:
            below = None if following is None else following[:halo]
            window = [rows for rows in (above, part, below) if rows is not None]
            start = 0 if above is None else len(above)
            yield np.concatenate(window), slice(start, start + len(part))
            above = part[-halo:]
        part = following


def in_pixels(area: Area) -> Area:
    """The pixels that an area of latents stands for."""
    rows, columns = area
    return slice(rows.start * STRIDE, rows.stop * STRIDE), slice(
        columns.start * STRIDE, columns.stop * STRIDE
    )


def in_hyper(area: Area) -> Area:
    """The hyper-latents that an area of latents has, which starts at a multiple of 4."""
    rows, columns = (slice(s.start // HYPER_STRIDE, -(-s.stop // HYPER_STRIDE)) for s in area)
    return rows, columns


def bar(total: int, progress: bool) -> tqdm:
    """A bar of so many tiles, on a terminal and where `progress` asks for one."""
    return tqdm(total=total, unit="tile", delay=1, leave=False, disable=None if progress else True)


def to_input(array: np.ndarray) -> np.ndarray:
    """What a transform takes, float32 (1, C, h, w), of an array (h, w, C)."""
    return np.ascontiguousarray(array.transpose(2, 0, 1), np.float32)[None]


def from_output(array: np.ndarray) -> np.ndarray:
    """An array (h, w, C) of what a transform gives, (1, C, h, w)."""
    return array[0].transpose(1, 2, 0)
