"""The order of coding, which is part of the format."""

import pytest
import torch

from coding import order


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


class Recorder(torch.nn.Module):
    """An entropy model that says the same of everything."""

    slices = (1,) * 5
    steps = order.coding_steps(5)

    def features(self, z, t):
        return z.new_zeros(len(z), 1, 4 * z.shape[2], 4 * z.shape[3])

    def parameters_of(self, step, features, canvas, positions, t):
        return (torch.zeros(1, len(positions), 1),) * 2


def walk(rows, columns, band=None):
    shape = (rows, columns)
    return order.Walk(
        Recorder(), torch.zeros(1, 1, -(-rows // 4), -(-columns // 4)), shape, torch.zeros(1), band
    )


def test_slice_by_slice_and_pass_by_pass_in_bands_of_rows():
    seen = [
        (group.step.slice, group.positions[0].item(), len(group.positions)) for group in walk(50, 200, 20)
    ]
    passes = {
        0: [(0, 0, 1), (1, 1, 1), (0, 1, 1), (1, 0, 1)],
        1: [(0, 0, 2), (0, 1, 2)],
        2: [(0, 0, 2), (0, 1, 2)],
        3: [(0, 0, 2), (0, 1, 2)],
        4: [(0, 0, 4)],
    }
    assert seen == [
        (index, 200 * (top + row) + column, share * height * 50)
        for index, places in passes.items()
        for row, column, share in places
        for top, height in [(0, 20), (20, 20), (40, 10)]
    ]


@torch.no_grad()
@pytest.mark.parametrize("rows, columns, band", [(1, 1, None), (5, 3, 2), (8, 6, 4)])
def test_what_is_put_is_what_the_walk_gives(rows, columns, band):
    y = torch.arange(5.0 * rows * columns).view(1, 5, rows, columns)
    steps, slices = walk(rows, columns, band), [order.to_rows(part) for part in y.split(1, 1)]
    for group in steps:
        steps.put(group, group.of(slices))
    assert torch.equal(steps.latents(), y)
    assert torch.equal(order.from_rows(order.to_rows(y), (rows, columns)), y)
