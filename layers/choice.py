"""Which blocks of a picture are kept exactly: those for which this costs less, rate and distortion together.

The cost is in bits, lambda * squared error + bits, whatever the tune. What is kept exactly has no error; its
bits are shared among its blocks by how many of their pixels repeat none nearby.
"""

import itertools

import numpy as np

from coding.modes import HIGHEST_RATE
from coding.tiles import STRIDE
from engines import tiled
from engines.pair import Encoder
from layers import drawn, exact
from pictures.picture import Picture

HOPELESS = 12.0  # bits a pixel: where an error costs more, a lossless coder may be better even for noise
NOISE = 1 / 3  # share of the blocks, at least, that are hopeless in a picture of noise
OF_A_BLOCK = 2 / STRIDE**2  # share of new pixels that a block counts for besides those that it has


def choose(picture: Picture, t: float, encoder: Encoder) -> np.ndarray:
    """The blocks to keep exactly, bool (ceil(H/16), ceil(W/16)), of a picture at rate t.

    Photographs are known by a quick look. An encoder without its decoder compares bits alone. Raises
    model_file.ModelError for a decoder that is not the encoder's.
    """
    looks = drawn.look(picture)
    # Of a squared error of a pixel, in levels. Beyond the highest rate it grows no more: what is lacking is
    # for the detail layer, as it is with the other tune.
    weight = encoder.lambda_ * 4 ** min(t, HIGHEST_RATE)
    hopeless = weight * looks.detail > HOPELESS
    candidates = looks.repeated | hopeless
    nothing = np.zeros(candidates.shape, bool)
    if looks.is_photograph and hopeless.mean() < NOISE:
        return nothing
    cost = _Cost(picture, t, encoder, weight)
    plain = cost.of_transforms(nothing)
    bits = 8 * len(exact.encode(picture.colours, candidates, fast=True))
    shares = np.where(candidates, looks.new + OF_A_BLOCK, 0)
    mask = tidy(candidates & (plain > bits * shares / shares.sum()), candidates)
    costs = [(plain.sum(), nothing)] + [(cost.of(tried), tried) for tried in (mask, ~nothing) if tried.any()]
    return min(costs, key=lambda pair: pair[0])[1]


def tidy(mask: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The mask with candidates that lie among its blocks, and without blocks that lie alone, all (h, w)."""
    around = _neighbours(mask)
    return (mask & (around > 0)) | (candidates & (around > 4))


def _neighbours(mask):
    """How many of the eight blocks around each are in the mask, int (h, w)."""
    padded = np.pad(mask.astype(int), 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - mask


class _Cost:
    """What coding a picture at a rate costs, in bits; weight: of a squared error of a pixel, in levels."""

    def __init__(self, picture, t, encoder, weight):
        self._picture, self._t, self._encoder, self._weight = picture, t, encoder, weight

    def of(self, mask):
        """The cost of keeping the blocks of a mask, bool (h, w), exactly."""
        bits = 8 * len(exact.encode(self._picture.colours, mask, fast=True))
        return bits if mask.all() else bits + self.of_transforms(mask).sum()

    def of_transforms(self, mask):
        """The cost of each block, float64 (h, w), beside the exact layer of a mask."""
        stripes = tiled.real_stripes(exact.without(self._picture, mask), self._t, self._encoder)
        measured, same = itertools.tee(self._encoder.coder.measure(latents, self._t) for latents in stripes)
        costs, top = [], 0
        for part, pixels in zip(measured, self._pixels(part.y for part in same)):
            rows = slice(top, top + len(part.bits_y))
            errors = 0 if pixels is None else self._errors(rows, pixels)
            costs.append(part.bits_per_position() + self._weight * np.where(mask[rows], 0, errors))
            top = rows.stop
        return np.concatenate(costs)

    def _pixels(self, stripes):
        """The pixels (16 h, 16 w, 3) of each stripe of latents, or None where nothing decodes them."""
        decoder = self._encoder.decoder
        if decoder is None:
            return itertools.repeat(None)
        return tiled.pixel_stripes(stripes, self._picture.metadata, self._t, decoder)

    def _errors(self, rows, pixels):
        """The squared errors (h, w) of the blocks in some rows, means over the channels, in levels."""
        columns = slice(0, pixels.shape[1])
        original = self._picture.window(slice(rows.start * STRIDE, rows.stop * STRIDE), columns)
        squares = (original.astype(np.int32) - pixels) ** 2
        sides = len(squares) // STRIDE, STRIDE, columns.stop // STRIDE, STRIDE, 3
        return squares.reshape(sides).sum((1, 3, 4)) / 3
