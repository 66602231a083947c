"""Smooth colours where none count, by pull-push interpolation (Gortler et al. 1996, "The lumigraph").

Known pixels are averaged to coarser and coarser pictures, until all is known; from there unknown pixels are
filled by linear interpolation, each from the finest level that knows its surroundings.
"""

import numpy as np

BAND = 512  # rows of the finest level that are worked on together, an even number


def fill(rgb: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Pixels uint8 (H, W, 3) that equal `rgb` where `known`, bool (H, W), and are smooth elsewhere."""
    if known.all():
        return rgb
    bands = [slice(top, top + BAND) for top in range(0, len(rgb), BAND)]
    halves = zip(*(_halve(rgb[band], known[band]) for band in bands))
    smooth = _complete(*map(np.concatenate, halves))
    filled = rgb.copy()
    for band in bands:
        rows = slice(max(band.start // 2 - 1, 0), band.stop // 2 + 1)  # interpolation looks one further
        first = band.start - 2 * rows.start
        finer = _double(smooth[rows])[first : first + len(filled[band]), : rgb.shape[1]]
        np.copyto(filled[band], np.rint(finer).astype(np.uint8), where=~known[band][:, :, None])
    return filled


def _complete(values, known):
    """Values float32 (h, w, C) with those that are not known, bool (h, w), filled."""
    if known.all() or known.size == 1:
        return values
    finer = _double(_complete(*_halve(values, known)))[: values.shape[0], : values.shape[1]]
    return np.where(known[:, :, None], values, finer)


def _halve(values, known):
    """Means of the known ones of each 2x2 square, float32 (ceil(h/2), ceil(w/2), C), and if there are any."""
    edge = (0, len(values) % 2), (0, values.shape[1] % 2)
    known = np.pad(known, edge)
    values = np.pad(values, (*edge, (0, 0))) * known[:, :, None].astype(np.float32)
    counts = _squares(known.astype(np.float32)[:, :, None])
    return _squares(values) / np.maximum(counts, 1), counts[:, :, 0] > 0


def _squares(array):
    """Sums over 2x2 squares of an array (2 h, 2 w, C)."""
    pairs = array[::2] + array[1::2]
    return pairs[:, ::2] + pairs[:, 1::2]


def _double(array):
    """Linear interpolation of (h, w, C) to (2 h, 2 w, C)."""
    for axis in (0, 1):
        padded = np.pad(array, [(1, 1) if axis == other else (0, 0) for other in range(3)], "edge")
        before, after = (np.take(padded, range(start, start + array.shape[axis]), axis) for start in (0, 2))
        finer = np.stack([0.75 * array + 0.25 * before, 0.75 * array + 0.25 * after], axis + 1)
        array = finer.reshape(*array.shape[:axis], -1, *array.shape[axis + 1 :])
    return array
