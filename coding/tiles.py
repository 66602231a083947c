"""Work on a large picture in tiles with margins, so that memory does not grow with it and no seam shows."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from tqdm import tqdm

STRIDE = 16  # pixels to a side of one position of the latents
TILE = 64  # latents a side, 1024 pixels
HALO = 12  # latents a side, 192 pixels; analysis sees 177 pixels around a point, synthesis 9.25 latents

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
    side: int = TILE,
) -> list[Tile]:
    """The tiles of side x side latents that cover rows x columns of them."""
    down, across = _spans(rows, side), _spans(columns, side)
    return [Tile(*zip(vertical, horizontal)) for vertical in down for horizontal in across]


def _spans(length, side):
    """Along one axis: for each tile its own slice, its window's, and its own within the window."""
    spans = []
    for start in range(0, length, side):
        stop = min(start + side, length)
        first, last = max(start - HALO, 0), min(stop + HALO, length)
        spans.append((slice(start, stop), slice(first, last), slice(start - first, stop - first)))
    return spans


def in_pixels(area: Area) -> Area:
    """The pixels that an area of latents stands for."""
    rows, columns = area
    return slice(rows.start * STRIDE, rows.stop * STRIDE), slice(
        columns.start * STRIDE, columns.stop * STRIDE
    )


def in_latents(area: Area) -> Area:
    """An area of latents as it is."""
    return area


def pad(rgb: np.ndarray, multiple: int = STRIDE) -> np.ndarray:
    """Repeat the last row and column of pixels (H, W, 3) until H and W are multiples of `multiple`."""
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, -height % multiple), (0, -width % multiple), (0, 0)), "edge")


def fill(
    out: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    source: np.ndarray,
    out_area: Callable[[Area], Area],
    source_area: Callable[[Area], Area],
    tiles: list[Tile],
    progress: bool = False,
) -> None:
    """Fill `out` with function(source), tile by tile.

    Both are arrays (rows, columns, ...), of latents or of pixels: out_area and source_area are `in_latents`
    or `in_pixels`. progress: show a bar on a terminal.
    """
    for tile in tqdm(tiles, unit="tile", delay=1, leave=False, disable=None if progress else True):
        out[out_area(tile.tile)] = function(source[source_area(tile.window)])[out_area(tile.tile_in_window)]


def to_tensor(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """Float (1, C, H, W), channels last, of an array (H, W, C)."""
    return torch.from_numpy(np.array(array, order="C")).to(device).permute(2, 0, 1)[None].float()
