"""Which latents of hard mode get integers in [0, 2^B]: a band has ROOM of them for each of its positions.

The distance of a latent from its mean is a number in base 2^B + 1, with as many integers for digits as its
scale asks for. A latent that gets none has a distance of zero. The latents of a busy picture ask for more
than there are. So a step may take its share of what its band has left, and there the latents of the largest
scale get theirs first. Whoever decodes knows all that this depends on. `networks/dealing.py` is its
counterpart for training.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from coding import scales
from coding.entropy_model import LOWEST_LOG_SCALE
from coding.exact import ACTIVATION_BITS
from coding.order import Step
from coding.walk import Group

ROOM = 32
DEVIATIONS = 4  # that the integers of a latent hold, at least, to each side of the mean
PRIORITY = 3  # a pass of a slice has so many times the share of a pass of the next
LEAST_LEVEL = 4  # of scale, that asks for an integer: below it, a distance is zero in 98 of 100 cases


def by_level(B: int) -> np.ndarray:
    """The integers that a latent of each level of scale asks for, int64 (LEVELS,)."""
    counts = np.zeros(scales.LEVELS, np.int64)
    for level in range(LEAST_LEVEL, scales.LEVELS):
        largest = 2 ** scales.log_scale_of(level + 0.5)
        while limit(counts[level], B) + 0.5 < DEVIATIONS * largest:
            counts[level] += 1
    return counts


def limit(count, B: int):
    """The largest distance that so many integers hold; count: a number, or an array of them."""
    return ((2**B + 1) ** count - 1) // 2


def shares(steps: Sequence[Step]) -> list[Fraction]:
    """The share of each of all steps in what those before it have left."""
    weights = [PRIORITY ** (steps[-1].slice - step.slice) for step in steps]
    return [Fraction(weight, sum(weights[number:])) for number, weight in enumerate(weights)]


def deal(groups: Iterable[Group], steps: Sequence[Step], wanted: np.ndarray) -> Iterator[Group]:
    """The groups of a Walk as they are coded: with LOWEST_LOG_SCALE for latents that get no integers.

    steps: of the walk; wanted: what a latent of each level asks for, as of `by_level`.
    """
    share, left = shares(steps), {}  # of each band
    for group in groups:
        log_scale = group.log_scale.ravel()
        # On the grid of activations, as integers: these are sorted fast.
        order = (-(2**ACTIVATION_BITS) * log_scale).astype(np.int16).argsort(kind="stable")
        asked = wanted[scales.index_of(log_scale[order])]
        room = left.get(group.band, ROOM * len(group.band))
        gets = (asked > 0) & (asked.cumsum() <= room * share[group.step.number] // 1)
        left[group.band] = room - asked[gets].sum().item()
        dealt = np.full_like(log_scale, LOWEST_LOG_SCALE)
        dealt[order[gets]] = log_scale[order[gets]]
        yield dataclasses.replace(group, log_scale=dealt.reshape(group.log_scale.shape))
