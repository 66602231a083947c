"""Colours for pixels that nobody sees."""

import numpy as np
import pytest

from pictures import fill as module
from pictures.fill import fill


def test_known_pixels_stay_and_the_others_continue_them_smoothly():
    y, x = np.mgrid[0:90, 0:130]
    slope = np.stack([x, y, x + y], 2).astype(np.uint8)
    known = (x - 60) ** 2 + (y - 40) ** 2 > 30**2
    noise = np.random.default_rng(0).integers(0, 256, slope.shape, np.uint8)
    filled = fill(np.where(known[:, :, None], slope, noise), known)
    assert np.array_equal(filled[known], slope[known])
    steps = np.abs(np.diff(filled.astype(int), axis=1)).max(2)
    assert steps.max() <= 12
    assert np.abs(filled.astype(int) - slope).mean() < 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (31, 50), (33, 17)])
def test_any_size_is_filled_from_one_known_pixel(shape, monkeypatch):
    monkeypatch.setattr(module, "BAND", 16)
    known = np.zeros(shape, bool)
    known[-1, 0] = True
    rgb = np.zeros((*shape, 3), np.uint8)
    rgb[-1, 0] = 10, 200, 99
    filled = fill(rgb, known)
    assert np.abs(filled.astype(int) - (10, 200, 99)).max() <= 4  # of rounding


def test_bands_leave_no_seam(monkeypatch):
    random = np.random.default_rng(1)
    rgb, known = random.integers(0, 256, (70, 40, 3), np.uint8), random.random((70, 40)) < 0.3
    whole = fill(rgb, known)
    monkeypatch.setattr(module, "BAND", 16)
    assert np.abs(fill(rgb, known).astype(int) - whole).max() <= 1  # of rounding


def test_nothing_known_is_black_and_all_known_is_not_even_copied():
    rgb = np.full((5, 6, 3), 77, np.uint8)
    assert not fill(rgb, np.zeros((5, 6), bool)).any()
    assert fill(rgb, np.ones((5, 6), bool)) is rgb
