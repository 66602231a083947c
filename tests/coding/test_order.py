"""The order of coding, which is part of the format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coding import order, tiles


@pytest.mark.parametrize("slices", [1, 2, 4, 6])
def test_every_position_of_every_slice_has_one_step_and_looks_back_only(slices):
    seen = set()
    for number, step in enumerate(order.coding_steps(slices)):
        assert step.number == number
        for row, column in step.places:
            for index, offsets in step.sources:
                assert all((index, (row + dy) % 2, (column + dx) % 2) in seen for dy, dx in offsets)
        new = {(step.slice, *place) for place in step.places}
        assert not new & seen
        seen |= new
    assert len(seen) == 4 * slices


def test_the_neighbourhoods_are_those_that_are_drawn():
    """In the drawings of the module's docstring, side by side."""
    lines = [line for line in order.__doc__.splitlines() if set(line) <= set(" .xo") and line.strip()]
    drawings = {
        "DIAMOND": slice(4, 17),
        "SMALL_DIAMOND": slice(27, 40),
        "BOX": slice(50, 55),
        "CROSS": slice(65, 70),
    }
    for name, columns in drawings.items():
        rows = [line[columns].split() for line in lines if line[columns].strip()]
        middle = len(rows) // 2
        assert rows[middle][middle] == "o"
        offsets = [
            (row - middle, column - middle)
            for row, line in enumerate(rows)
            for column, mark in enumerate(line)
            if mark != "."
        ]
        assert tuple(offsets) == getattr(order, name), name


@given(rows=st.integers(1, 4096), columns=st.integers(1, 4096))
def test_stripes_cover_a_picture_and_are_bounded(rows, columns):
    stripes = order.stripes(rows, columns)
    assert [row for stripe in stripes for row in range(stripe.start, stripe.stop)] == list(range(rows))
    for stripe in stripes:
        height = stripe.stop - stripe.start
        assert stripe.start % order.HYPER_STRIDE == 0
        assert height >= order.LOWEST_STRIPE or stripe.stop == rows
        assert height * columns <= order.STRIPE


def test_what_a_stripe_is_not_told_reaches_no_further_than_its_neighbour():
    assert order.LOWEST_STRIPE >= tiles.SYNTHESIS_HALO
