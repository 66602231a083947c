"""The walk through the latents of a picture in the order of `order.py`.

Positions lie in rows, (P, C). `networks/walk.py` is its counterpart for training, where sums have gradients.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from coding import exact
from coding.order import REACH, Step


class Canvas:
    """The latents of rows x columns positions that are known so far, by slices; zero where none is."""

    def __init__(self, rows: int, columns: int, slices: Sequence[int]):
        self.rows, self.columns = rows, columns
        self._stride = columns + 2 * REACH
        shapes = [((rows + 2 * REACH) * self._stride, channels) for channels in slices]
        self._values = [np.zeros(shape, np.float32) for shape in shapes]
        self._logs = [np.zeros(shape, np.float16) for shape in shapes]  # 1/64 up to 16: eleven bits

    def positions(self, places: tuple, top: int, bottom: int) -> np.ndarray:
        """Numbers, int (P,), of the positions at `places` of each 2x2 square, in the rows top to bottom.

        top: an even number.
        """
        rows = np.arange(top, min(bottom, self.rows))[:, None]
        band = rows * self.columns + np.arange(self.columns)
        return np.concatenate([band[row::2, column::2].ravel() for row, column in places])

    def _padded(self, positions):
        return (positions // self.columns + REACH) * self._stride + positions % self.columns + REACH

    def put(self, index: int, positions: np.ndarray, values: np.ndarray) -> None:
        """Keep latents (P, C) of slice `index` at positions (P,)."""
        padded = self._padded(positions)
        self._values[index][padded] = values
        self._logs[index][padded] = exact.signed_log(values)

    def _gather(self, planes, sources, positions):
        padded, parts = self._padded(positions)[:, None], []
        for index, offsets in sources:
            moves = [dy * self._stride + dx for dy, dx in offsets]
            around = planes[index].take(padded + moves, 0)  # (P, offsets, C)
            parts.append(around.reshape(len(positions), len(offsets) * around.shape[2]))
        return np.concatenate(parts, 1)

    def values_around(self, sources: tuple, positions: np.ndarray) -> np.ndarray:
        """Latents (P, S) around positions (P,), of `sources` as of a Step."""
        return self._gather(self._values, sources, positions)

    def logs_around(self, sources: tuple, positions: np.ndarray) -> np.ndarray:
        """`exact.signed_log` of `values_around`."""
        return self._gather(self._logs, sources, positions)

    def latents(self) -> np.ndarray:
        """All latents, float32 (rows, columns, K)."""
        inner = slice(REACH, -REACH)
        planes = [values.reshape(-1, self._stride, values.shape[1]) for values in self._values]
        return np.concatenate([plane[inner, inner] for plane in planes], 2)


@dataclasses.dataclass(frozen=True)
class Group:
    """Latents that are coded together: those that a step takes, in a band of rows.

    band: of all positions, the numbers of those in its rows.
    positions: int (P,); mean: (P, C), settled, what the entropy model says of them.
    log_scale: (P, C), settled, log2 of the deviation in quantization steps; delta: (C,), these steps.
    """

    step: Step
    band: range
    positions: np.ndarray
    mean: np.ndarray
    log_scale: np.ndarray
    delta: np.ndarray

    def distance(self, slices: Sequence[np.ndarray]) -> np.ndarray:
        """How far, in quantization steps (P, C), the latents of this group are from the mean.

        slices: all latents, each (h * w, C)
        """
        return (slices[self.step.slice][self.positions] - self.mean) / self.delta

    def latents(self, distance: np.ndarray) -> np.ndarray:
        """The latents, settled, at a distance from the mean in quantization steps, both (P, C)."""
        return exact.settle(self.mean + distance * self.delta)


class Walk:
    """The groups of a picture's latents in the order of coding.

    The next group depends on the quantized latents of this, which must have been put by then:

        walk = Walk(entropy_model, z, (h, w), t, tune)
        for group in walk:
            walk.put(group, group.latents(distance))  # (P, C)
        y = walk.latents()                          # (h, w, K)
    """

    def __init__(
        self,
        entropy_model,
        z: np.ndarray,
        shape: tuple[int, int],
        t: float,
        tune: str,
        band: int | None = None,
    ):
        """entropy_model: an entropy_model.EntropyModel; z: quantized hyper-latents (ceil(h/4), ceil(w/4), Z).

        shape: (h, w); t: the rate; tune: of modes.TUNES, whose quantization steps are taken.
        band: rows that are coded together, an even number, or None for all.
        """
        self._entropy_model, self._t, self._band = entropy_model, t, band or shape[0]
        features = entropy_model.features(z, t)[: shape[0], : shape[1]]
        self._features = features.reshape(shape[0] * shape[1], -1)
        self._canvas = Canvas(*shape, entropy_model.slices)
        ends = np.cumsum(entropy_model.slices)[:-1]
        self._log_steps = np.split(entropy_model.log_steps(tune, t), ends)  # each (C,)

    def __iter__(self) -> Iterator[Group]:
        rows, columns = self._canvas.rows, self._canvas.columns
        for step in self._entropy_model.steps:
            for top in range(0, rows, self._band):
                band = range(top * columns, min(top + self._band, rows) * columns)
                positions = self._canvas.positions(step.places, top, top + self._band)
                features = self._features[positions]
                mean, log_scale = self._entropy_model.parameters_of(
                    step, features, self._canvas, positions, self._t
                )
                log_step = self._log_steps[step.slice]
                in_steps = self._entropy_model.in_steps(log_scale, log_step)
                yield Group(step, band, positions, mean, in_steps, exact.power_of_two(log_step))

    @property
    def steps(self) -> list[Step]:
        """Those of the entropy model, in order."""
        return self._entropy_model.steps

    def put(self, group: Group, latents: np.ndarray) -> None:
        """Tell what the latents (P, C) of a group are once they are quantized."""
        self._canvas.put(group.step.slice, group.positions, latents)

    def latents(self) -> np.ndarray:
        """The quantized latents, float32 (h, w, K), when the walk is over."""
        return self._canvas.latents()
