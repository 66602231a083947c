"""Work on a large picture in tiles with margins, so that memory does not grow with it and no seam shows."""
import numpy as np
import torch
from tqdm import tqdm

from model import STRIDE

TILE = 64  # latents a side, 1024 pixels
HALO = 8   # latents a side, 128 pixels; the encoder sees 105 pixels around a point, the decoder 7.25 latents


class Tile:
    """A tile of a picture of rows x columns latents, and the window it is computed from: tile and margins.

    `tile`, `window` and `tile_in_window` are pairs of slices, in latents; `in_pixels` scales such a pair.
    """

    def __init__(self, top, left, rows, columns, side):
        spans = [(top, min(top + side, rows), rows), (left, min(left + side, columns), columns)]
        self.tile = tuple(slice(first, last) for first, last, _ in spans)
        self.window = tuple(slice(max(first - HALO, 0), min(last + HALO, end)) for first, last, end in spans)
        self.tile_in_window = tuple(slice(t.start - w.start, t.stop - w.start)
                                    for t, w in zip(self.tile, self.window))


def split(rows, columns, side=TILE):
    """The tiles, list of Tile, that cover rows x columns latents."""
    return [Tile(top, left, rows, columns, side) for top in range(0, rows, side) for left in range(0, columns, side)]


def in_pixels(slices):
    """The pixels that a pair of slices of latents stands for."""
    return tuple(slice(s.start * STRIDE, s.stop * STRIDE) for s in slices)


def transform(function, source, from_pixels, out, to_pixels, side=TILE, progress=False):
    """Fill the array `out` with function(source) tile by tile.

    Both are arrays (rows, columns, ...) of pixels or of latents, as `from_pixels` and `to_pixels` say.
    """
    rows, columns = (n // STRIDE if from_pixels else n for n in source.shape[:2])
    source_part = in_pixels if from_pixels else tuple
    out_part = in_pixels if to_pixels else tuple
    for tile in tqdm(split(rows, columns, side), unit="tile", delay=1, leave=False, disable=None if progress else True):
        out[out_part(tile.tile)] = function(source[source_part(tile.window)])[out_part(tile.tile_in_window)]


def to_tensor(array, module):
    """Float (1, C, H, W), channels last, on the module's device, of an array (H, W, C)."""
    device = next(module.parameters()).device
    return torch.from_numpy(np.array(array, order="C")).to(device).permute(2, 0, 1)[None].float()
