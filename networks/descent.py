"""A search for whole numbers, the symbols of a file, that cost less, by the gradient of what they cost.

Where what one symbol does another can make up for, finding the best ones is decoding a lattice with a rate
added. As there, they are fixed one after the other, and those that are still real make up for what that
changes (Babai 1986, "On Lovasz' lattice reduction and the nearest lattice point problem"):
- Between whole numbers the code length goes in straight lines, which makes it convex, and the loss falls by
  proximal gradient steps with momentum (Beck and Teboulle 2009, "A fast iterative shrinkage-thresholding
  algorithm for linear inverse problems"). The corners of the code length hold most symbols at zero.
- Symbols that come near to a whole number are fixed there, and what counts as near grows to a half. Those
  that the code length holds at one stay free until the end.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import torch

from networks.entropy_model import laplacian_bits

STEP, MOMENTUM = 0.08, 0.7  # the step as a share of one over the curvature of a single symbol
FREE_SHARE = 0.1  # of the iterations, before symbols are fixed
# Random directions that the curvature is measured in, all symbols at once, and how far: as far as rounding
# moves them, for the error of the tune for the eye is sharper nearby.
PROBES, PROBE_SIZE = 3, 0.25
LEAST_CURVATURE = 10.0  # in bits for a symbol squared; most of the latents have 15 to 30 at any rate
TOLERANCE = 1.05  # by what factor the loss may rise in an iteration, as it does when symbols are fixed


@dataclasses.dataclass(frozen=True)
class Code:
    """How symbols are coded, each (S,): symbol + offset is the distance from the mean of a Laplace
    distribution with the deviation 2^log_scale, and limit is the largest magnitude of a symbol;
    where it is 0 nothing is coded."""

    offset: torch.Tensor
    log_scale: torch.Tensor
    limit: torch.Tensor

    def bits(self, symbols: torch.Tensor) -> torch.Tensor:
        """Code lengths (S,)."""
        return laplacian_bits(symbols + self.offset, self.log_scale) * (self.limit > 0)

    def relaxed_bits(self, symbols: torch.Tensor) -> torch.Tensor:
        """The same, in straight lines between whole symbols; autograd does not follow the symbols (S,)."""
        below = symbols.detach().floor()
        return torch.lerp(self.bits(below), self.bits(below + 1), symbols.detach() - below)

    def detached(self) -> "Code":
        """The same for autograd to leave alone."""
        return Code(self.offset.detach(), self.log_scale.detach(), self.limit)


@dataclasses.dataclass(frozen=True)
class Relaxed:
    """The loss of real symbols, and what a proximal step needs.

    gradient: (S,), of the loss but for the symbols' own code lengths; code: of these.
    """

    loss: float
    gradient: torch.Tensor
    code: Code

    def proximal(self, symbols: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Symbols (S,) with the least own code lengths and squared distances to a gradient step, which are
        divided by twice the step.

        step: so short that one times the slope of the code length is less than half a symbol.
        """
        moved, code = symbols - step * self.gradient, self.code
        corner = moved.round()
        below, at, above = (laplacian_bits(corner + by + code.offset, code.log_scale) for by in (-1, 0, 1))
        past = moved - corner
        right, left = (past - step * (above - at)).clamp_min(0), (past - step * (at - below)).clamp_max(0)
        return torch.clamp(corner + right + left, -code.limit, code.limit)


class Objective(Protocol):
    """What symbols cost, in bits.

    start: those to begin with, (S,), whole; inner: bool (S,), which may be moved.
    """

    start: torch.Tensor
    inner: torch.Tensor

    def relaxed(self, symbols: torch.Tensor) -> Relaxed:
        """The Relaxed of real symbols (S,)."""

    def loss(self, symbols: torch.Tensor) -> float:
        """The loss of whole symbols (S,)."""

    def mean_of_like(self, values: torch.Tensor) -> torch.Tensor:
        """For each of values (S,) the mean over the symbols that are like it."""


def descend(
    objective: Objective,
    iterations: int,
    on_iteration: Callable[[], object] = lambda: None,
) -> torch.Tensor:
    """The best symbols (S,) that are found; never such as cost more than those of the start.

    iterations: the curvature takes PROBES + 1 gradients more; on_iteration: is called once in each.
    """
    symbols = accepted = objective.start
    free, velocity, step = objective.inner, torch.zeros_like(symbols), STEP / _curvature(objective)
    last, unfixed = math.inf, round(FREE_SHARE * iterations)
    for iteration in range(iterations):
        ahead = symbols + MOMENTUM * velocity
        relaxed = objective.relaxed(ahead)
        on_iteration()
        if not relaxed.loss <= TOLERANCE * last:
            step, velocity, last = step / 2, torch.zeros_like(step), math.inf
            symbols = torch.where(free, accepted, symbols)
            continue
        last, accepted = relaxed.loss, ahead
        moved = torch.where(free, relaxed.proximal(ahead, step), symbols)
        nearest, near = moved.round(), 0.5 * (iteration + 1 - unfixed) / (iterations - unfixed)
        distance = (moved - nearest).abs()
        # What the code length holds at a whole number may still leave it.
        free = free & ((distance > near) | (distance == 0))
        velocity = (moved - symbols) * free
        symbols = torch.where(free, moved, nearest)
    return min(objective.start, symbols.round(), key=objective.loss)


def _curvature(objective):
    """The second derivative by each symbol (S,) of the loss but for its own code length, in bits for a symbol
    squared.

    That of like symbols is a mean over them (Hutchinson's estimator of a diagonal).
    """
    generator, products = torch.Generator().manual_seed(0), 0
    gradient = objective.relaxed(objective.start).gradient
    for _ in range(PROBES):
        signs = torch.randint(0, 2, gradient.shape, generator=generator).to(gradient) * 2 - 1
        moved = objective.relaxed(objective.start + PROBE_SIZE * signs).gradient
        products = products + (moved - gradient) * signs / (PROBES * PROBE_SIZE)
    return objective.mean_of_like(products).clamp_min(LEAST_CURVATURE)
