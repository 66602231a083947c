"""Smooth colours where none are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictures import fill
from pictures.fill import fill as fill_in


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_known_pixels_stay_and_others_are_within_their_range(rows, columns, seed):
    random = np.random.default_rng(seed)
    rgb = random.integers(0, 256, (rows, columns, 3), np.uint8)
    known = random.random((rows, columns)) < random.random()
    known[random.integers(rows), random.integers(columns)] = True
    filled = fill_in(rgb, known)
    assert np.array_equal(filled[known], rgb[known])
    assert (filled >= rgb[known].min(0)).all() and (filled <= rgb[known].max(0)).all()


def test_a_hole_in_a_slope_is_bridged():
    rgb = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    known = np.ones((64, 64), bool)
    known[16:48, 16:48] = False
    filled = fill_in(rgb, known).astype(int)
    assert np.abs(np.diff(filled, axis=1)).max() <= 16
    assert np.abs(filled - rgb).max() <= 40


def test_bands_leave_no_seam(monkeypatch):
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (67, 30, 3), np.uint8)
    known = random.random((67, 30)) < 0.2
    whole = fill_in(rgb, known)
    monkeypatch.setattr(fill, "BAND", 8)
    assert np.array_equal(fill_in(rgb, known), whole)


@pytest.mark.parametrize("known", [True, False])
def test_all_or_nothing_known(known):
    rgb = np.full((5, 7, 3), 9, np.uint8)
    filled = fill_in(rgb, np.full((5, 7), known))
    assert filled.shape == rgb.shape and (filled == (9 if known else 0)).all()
