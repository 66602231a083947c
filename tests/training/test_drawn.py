"""Drawn pictures for training."""

import numpy as np

from training import drawn

PHOTOGRAPHS = [np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)] * 50


def pictures(seed):
    return drawn.drawn_pictures(PHOTOGRAPHS, np.random.default_rng(seed))


def test_drawn_pictures_are_a_small_share_of_the_pixels():
    pixels = sum(picture[..., 0].size for picture in pictures(0))
    assert 0.01 < pixels / sum(photograph[..., 0].size for photograph in PHOTOGRAPHS) < 0.02
    assert len(drawn.drawn_pictures(PHOTOGRAPHS[:1], np.random.default_rng(0))) == 1


def test_drawn_pictures_are_those_of_the_seed():
    again = pictures(1)
    assert all(np.array_equal(*pair) for pair in zip(pictures(1), again))
    assert not any(np.array_equal(*pair) for pair in zip(pictures(2), again))


def test_drawn_pictures_have_flat_colours_and_edges():
    for picture in pictures(3)[:2]:  # a page and an interface
        assert picture.dtype == np.uint8 and picture.shape == (drawn.SIDE, drawn.SIDE, 3)
        steps = np.abs(np.diff(picture.astype(int), axis=1)).max(2)
        assert (steps == 0).mean() > 0.4 and (steps > 80).mean() > 0.005
