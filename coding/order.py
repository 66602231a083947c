"""The order in which latents are coded: slices of channels, and passes over positions.

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
"""

import dataclasses

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

STRIPE = 1 << 16  # positions that are coded together, about: 16 megapixels
LOWEST_STRIPE = 16  # rows, at least

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


def stripes(rows: int, columns: int) -> list[slice]:
    """The rows of the stripes that a picture of rows x columns latents is coded in, one after the other.

    Each begins at a multiple of HYPER_STRIDE. No stripe knows of another, so that neither side needs memory
    for more than one.
    """
    height = max(LOWEST_STRIPE, STRIPE // columns // HYPER_STRIDE * HYPER_STRIDE)
    return [slice(top, min(top + height, rows)) for top in range(0, rows, height)]


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
