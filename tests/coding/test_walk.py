"""The walk through latents in the order of coding."""

import numpy as np
import pytest

from coding import order
from coding.walk import Walk


class Recorder:
    """An entropy model that says the same of everything."""

    slices = (1,) * 5
    steps = order.coding_steps(5)

    def features(self, z, t):
        return np.zeros((4 * z.shape[0], 4 * z.shape[1], 1), np.float32)

    def parameters_of(self, step, features, canvas, positions, t):
        return (np.zeros((len(positions), 1)),) * 2

    def log_steps(self, tune, t):
        return np.zeros(5)

    def in_steps(self, log_scale, log_step):
        return log_scale


def walk(rows, columns, band=None):
    shape = (rows, columns)
    return Walk(Recorder(), np.zeros((-(-rows // 4), -(-columns // 4), 1)), shape, 0.0, "psnr", band)


def test_slice_by_slice_and_pass_by_pass_in_bands_of_rows():
    seen = [(group.step.slice, group.positions[0], len(group.positions)) for group in walk(50, 200, 20)]
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


@pytest.mark.parametrize("rows, columns, band", [(1, 1, None), (5, 3, 2), (8, 6, 4)])
def test_what_is_put_is_what_the_walk_gives(rows, columns, band):
    y = np.arange(5.0 * rows * columns).reshape(rows, columns, 5)
    steps, slices = walk(rows, columns, band), np.split(y.reshape(-1, 5), 5, 1)
    for group in steps:
        steps.put(group, group.latents(group.distance(slices)))
    assert np.array_equal(steps.latents(), y)
