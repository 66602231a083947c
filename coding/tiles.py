"""Work on a large picture in tiles with margins, so that memory does not grow with it and no seam shows."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from coding.order import HYPER_STRIDE

STRIDE = 16  # pixels to a side of one position of the latents
TILE = 64  # latents a side, 1024 pixels
# Latents a side, multiples of 4. A latent depends on pixels up to 177 away, and one of z on 48 more; a pixel
# depends on latents up to 9.25 away.
ANALYSIS_HALO, SYNTHESIS_HALO = 16, 12

Area = tuple[slice, slice]  # rows and columns


@dataclasses.dataclass(frozen=True)
class Tile:
    """A tile of a picture, and the window that it is computed from: the tile and its margins. All in
    latents."""

    tile: Area
    window: Area
    tile_in_window: Area


def split(
    rows: int,
    columns: int,
    halo: int,
    side: int = TILE,
) -> list[Tile]:
    """The tiles of side x side latents that cover rows x columns of them, with margins of `halo`."""
    down, across = _spans(rows, side, halo), _spans(columns, side, halo)
    return [Tile(*zip(vertical, horizontal)) for vertical in down for horizontal in across]


def _spans(length, side, halo):
    """Along one axis: for each tile its own slice, its window's, and its own within the window."""
    spans = []
    for start in range(0, length, side):
        stop = min(start + side, length)
        first, last = max(start - halo, 0), min(stop + halo, length)
        spans.append((slice(start, stop), slice(first, last), slice(start - first, stop - first)))
    return spans


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


def pad(rgb: np.ndarray, multiple: int = STRIDE) -> np.ndarray:
    """Repeat the last row and column of pixels (H, W, 3) until H and W are multiples of `multiple`."""
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, -height % multiple), (0, -width % multiple), (0, 0)), "edge")


def each(tiles: list[Tile], progress: bool) -> Iterable[Tile]:
    """The tiles, with a bar on a terminal where `progress` asks for one."""
    return tqdm(tiles, unit="tile", delay=1, leave=False, disable=None if progress else True)


def to_input(array: np.ndarray) -> np.ndarray:
    """What a transform takes, float32 (1, C, h, w), of an array (h, w, C)."""
    return np.ascontiguousarray(array.transpose(2, 0, 1), np.float32)[None]


def from_output(array: np.ndarray) -> np.ndarray:
    """An array (h, w, C) of what a transform gives, (1, C, h, w)."""
    return array[0].transpose(1, 2, 0)
