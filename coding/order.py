"""The order in which latents are coded: slices of channels, passes over positions, and the walk through both.

Slices of channels are coded one after the other, coarse components first. A slice takes one to four
passes over the positions; a pass takes some of the positions of each 2x2 square:

    quarters, for the first slice      halves, for the next three    whole, for all others
            1 3                               1 2                            1 1
            4 2                               2 1                            1 1

Around each position the entropy model sees what is known already: of the slice itself what earlier passes
coded, of the slice before it what is near, of those before that the nearest of the first two slices, and the
position alone of others. The position is o, and what is near is marked x:

    DIAMOND:               SMALL_DIAMOND:         BOX:         CROSS:
    own, first slice       own, second slice      before,      own, third and
                                                  second and   fourth slice;
                                                  third slice  before, all others
    . . x x x . .          . . . x . . .
    . x x x x x .          . . x x x . .
    x x x x x x x          . x x x x x .          x x x          . x .
    x x x o x x x          x x x o x x x          x o x          x o x
    x x x x x x x          . x x x x x .          x x x          . x .
    . x x x x x .          . . x x x . .
    . . x x x . .          . . . x . . .

All of this is part of the format. Unequal slices are those of He et al. 2022, "ELIC"; slices of a
channel-conditional model those of Minnen and Singh 2020, "Channel-wise autoregressive entropy models for
learned image compression"; halves are the checkerboard of He et al. 2021, "Checkerboard context model for
efficient learned image compression", and quarters divide it once more.

Positions lie in rows here, (N, P, C), and channels in columns.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import torch

from coding import exact

HYPER_STRIDE = 4  # latents to a side of one position of z
REACH = 3  # rows and columns around a position that may be looked at


def _diamond(most):
    """Offsets (row, column) at most `most` rows and columns away in all, and REACH in one direction."""
    span = range(-REACH, REACH + 1)
    return tuple((dy, dx) for dy in span for dx in span if abs(dy) + abs(dx) <= most)


DIAMOND, SMALL_DIAMOND, CROSS = _diamond(4), _diamond(3), _diamond(1)
BOX = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
CENTER = ((0, 0),)

QUARTERS = (((0, 0),), ((1, 1),), ((0, 1),), ((1, 0),))
HALVES = (((0, 0), (1, 1)), ((0, 1), (1, 0)))
WHOLE = (((0, 0), (0, 1), (1, 0), (1, 1)),)

COARSE_SLICES = 2  # first ones, which are looked at beside the position too, however many slices later


@dataclasses.dataclass(frozen=True)
class SliceOrder:
    """How a slice is coded.

    passes: for each the places (row, column) that it takes of a 2x2 square.
    own, before: offsets (row, column) that are looked at, of the slice itself and of the one before it.
    """

    passes: tuple
    own: tuple
    before: tuple


# For slices in their order; further slices are as the last.
SLICE_ORDERS = (
    SliceOrder(QUARTERS, DIAMOND, ()),
    SliceOrder(HALVES, SMALL_DIAMOND, BOX),
    SliceOrder(HALVES, CROSS, BOX),
    SliceOrder(HALVES, CROSS, CROSS),
    SliceOrder(WHOLE, (), CROSS),
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of coding: a pass over some positions, in the channels of one slice.

    number: of the step; slice: number of the slice; places: (row, column) in each 2x2 square that it takes.
    sources: (slice, offsets) of known latents, offsets (row, column) from the position that is coded.
    """

    number: int
    slice: int
    places: tuple
    sources: tuple


def coding_steps(slice_count: int) -> list[Step]:
    """The steps that code so many slices of channels, in order."""
    steps = []
    for index in range(slice_count):
        order = SLICE_ORDERS[min(index, len(SLICE_ORDERS) - 1)]
        known = []
        for places in order.passes:
            steps.append(Step(len(steps), index, places, _sources(index, order, places, known)))
            known += places
    return steps


def _sources(index, order, places, known):
    """Sources of a pass of slice `index` that takes `places` when those `known` are coded."""
    own = tuple(
        (dy, dx)
        for dy, dx in order.own
        if all(((row + dy) % 2, (column + dx) % 2) in known for row, column in places)
    )
    sources = [(index, own)] if own else []
    if index:
        sources.append((index - 1, order.before))
    for earlier in range(index - 1):
        sources.append((earlier, CROSS if earlier < COARSE_SLICES else CENTER))
    return tuple(sources)


class Canvas:
    """The latents of rows x columns positions that are known so far, by slices; zero where none is."""

    def __init__(
        self,
        batch: int,
        rows: int,
        columns: int,
        slices: Sequence[int],
        device: torch.device | str = "cpu",
    ):
        self.rows, self.columns = rows, columns
        self._stride = columns + 2 * REACH
        shapes = [(batch, (rows + 2 * REACH) * self._stride, channels) for channels in slices]
        self._values = [torch.zeros(shape, device=device) for shape in shapes]
        self._logs = [torch.zeros(shape, device=device) for shape in shapes]

    def positions(
        self,
        places: tuple,
        top: int,
        bottom: int,
    ) -> torch.Tensor:
        """Numbers, int64 (P,), of the positions at `places` of each 2x2 square, in the rows top to bottom.

        top: an even number.
        """
        grid = torch.arange(self.rows * self.columns, device=self._values[0].device)
        band = grid.view(self.rows, self.columns)[top:bottom]
        return torch.cat([band[row::2, column::2].flatten() for row, column in places])

    def _padded(self, positions):
        return (positions // self.columns + REACH) * self._stride + positions % self.columns + REACH

    def put(
        self,
        index: int,
        positions: torch.Tensor,
        values: torch.Tensor,
    ) -> None:
        """Keep latents (N, P, C) of slice `index` at positions (P,); autograd follows them where it is on."""
        padded = self._padded(positions)
        logs = exact.signed_log(values).float()
        if torch.is_grad_enabled():
            self._values[index] = self._values[index].index_copy(1, padded, values)
            self._logs[index] = self._logs[index].index_copy(1, padded, logs)
        else:
            self._values[index].index_copy_(1, padded, values.float())
            self._logs[index].index_copy_(1, padded, logs)

    def _gather(self, planes, sources, positions):
        padded, parts = self._padded(positions)[:, None], []
        for index, offsets in sources:
            plane = planes[index]
            moved = padded + _moves(offsets, self._stride, padded.device)
            around = plane.index_select(1, moved.flatten())  # (N, P * offsets, C)
            parts.append(around.view(len(plane), len(positions), len(offsets) * plane.shape[2]))
        return torch.cat(parts, 2)

    def values_around(self, sources: tuple, positions: torch.Tensor) -> torch.Tensor:
        """Latents (N, P, S) around positions (P,), of `sources` as of a Step."""
        return self._gather(self._values, sources, positions)

    def logs_around(self, sources: tuple, positions: torch.Tensor) -> torch.Tensor:
        """`exact.signed_log` of `values_around`."""
        return self._gather(self._logs, sources, positions)

    def latents(self) -> torch.Tensor:
        """All latents, float32 (N, K, rows, columns)."""
        inner = slice(REACH, -REACH)
        padded = torch.cat(self._values, 2).unflatten(1, (self.rows + 2 * REACH, self._stride))
        return padded[:, inner, inner].permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=256)
def _moves(offsets, stride, device):
    """How far offsets (row, column) lead in a padded plane, int64 (O,); kept, for a CUDA graph makes none."""
    return torch.tensor([dy * stride + dx for dy, dx in offsets], device=device)


def to_rows(latents: torch.Tensor) -> torch.Tensor:
    """Latents (N, C, h, w) with positions in rows, (N, h * w, C)."""
    return latents.flatten(2).transpose(1, 2)


def from_rows(rows: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Latents (N, C, h, w) of rows (N, h * w, C); shape: (h, w)."""
    return rows.transpose(1, 2).unflatten(2, shape)


@dataclasses.dataclass(frozen=True)
class Group:
    """Latents that are coded together: those that a step takes, in a band of rows.

    positions: int64 (P,); mean, log_scale: what the entropy model says of them, each (N, P, C).
    """

    step: Step
    positions: torch.Tensor
    mean: torch.Tensor
    log_scale: torch.Tensor

    def of(self, slices: Sequence[torch.Tensor]) -> torch.Tensor:
        """The values (N, P, C) that all `slices` of latents, each (N, h * w, C), have in this group."""
        return slices[self.step.slice].index_select(1, self.positions)


class Walk:
    """The groups of a picture's latents in the order of coding.

    The next group depends on the quantized latents of this, which must have been put by then:

        walk = Walk(entropy_model, z, (h, w), t)
        for group in walk:
            walk.put(group, group.mean + distance)  # (N, P, C)
        y = walk.latents()                          # (N, K, h, w)
    """

    def __init__(
        self,
        entropy_model: torch.nn.Module,
        z: torch.Tensor,
        shape: tuple[int, int],
        t: torch.Tensor,
        band: int | None = None,
    ):
        """z: quantized hyper-latents (N, Z, ceil(h/4), ceil(w/4)); shape: (h, w); t: rates (N,).

        band: rows that are coded together, an even number, or None for all of them.
        """
        self._entropy_model, self._t, self._band = entropy_model, t, band or shape[0]
        features = entropy_model.features(z, t)[:, :, : shape[0], : shape[1]]
        self._features = to_rows(features).float().contiguous()  # (N, h * w, width), in float32 still exact
        self._canvas = Canvas(len(z), *shape, entropy_model.slices, z.device)

    def __iter__(self) -> Iterator[Group]:
        for step in self._entropy_model.steps:
            for top in range(0, self._canvas.rows, self._band):
                positions = self._canvas.positions(step.places, top, top + self._band)
                features = self._features.index_select(1, positions)
                parameters = self._entropy_model.parameters_of(
                    step, features, self._canvas, positions, self._t
                )
                yield Group(step, positions, *parameters)

    def put(self, group: Group, latents: torch.Tensor) -> None:
        """Tell what the latents (N, P, C) of a group are once they are quantized."""
        self._canvas.put(group.step.slice, group.positions, latents)

    def latents(self) -> torch.Tensor:
        """The quantized latents, float32 (N, K, h, w), when the walk is over."""
        return self._canvas.latents()
