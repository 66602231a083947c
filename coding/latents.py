"""Latents to a payload and back: z first, then the latents group by group in the order of `order.py`.

`context.EntropyModel` gives a mean and a scale for every latent. There are two kinds of latents:

- `IntegerLatents`, of hard and soft mode: latents become integers;
- `DistanceLatents`, of variable mode: the distances of latents from their means become integers.

A kind says everything in which the two differ: how latents are rounded, and which integer is coded in which
context, that is, by which adaptive model of the bank. `LatentCoder` is the same for both. Everything that
chooses a context is exact, see `exact.py`, and part of the format.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

import quantize
from coding import entropy, exact, order
from coding.context import HIGHEST_LOG_SCALE, EntropyModel, laplacian_bits
from quantize import LEAST_LOG_SCALE

LARGEST = 2**15 - 1  # magnitude of a latent before it is rounded
BAND = 4096  # positions, about, that are coded together
PRIOR = 300  # integers that the Laplacian start of an adaptive model counts for, beside those of training

# One level of the scale is a quarter of an octave.
LEVELS_PER_OCTAVE = 4
LEVELS = int((HIGHEST_LOG_SCALE - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE + 0.5)
# Integers: the distance of the mean from the nearest integer chooses too, up to a deviation of 2.6 steps.
FRACTIONS = 4  # parts of the half step between the nearest integer and the mean
FINE_LEVELS = 20  # levels that are divided into them
INTEGER_LEVELS = FINE_LEVELS * FRACTIONS + LEVELS - FINE_LEVELS


@dataclasses.dataclass(frozen=True)
class Latents:
    """What is coded of a picture, in quantization steps: y (1, K, h, w), z (1, Z, ceil(h/4), ceil(w/4))."""

    y: torch.Tensor
    z: torch.Tensor


def _level(log_scale):
    """Level, int (n,), of log2 scales of any shape; negative where nothing but zero is coded."""
    return ((log_scale.flatten() - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE - 0.5).round().int()


def _log_scale(level):
    """The log2 scale in the middle of a level."""
    return LEAST_LOG_SCALE + (level + 0.5) / LEVELS_PER_OCTAVE


class DistanceChoice:
    """What is coded of distances from the mean, and in which contexts.

    contexts: int16 (n,), one for each scale; nothing is coded where the scale is so small that the distance
    is all but certain to be zero.
    """

    def __init__(
        self,
        mean: torch.Tensor,
        log_scale: torch.Tensor,
        first: int,
    ):
        """mean, log_scale: settled, both (1, P, C); first: the first of the contexts to choose from."""
        self._shape, level = mean.shape, _level(log_scale)
        self._where = level.ge(0).nonzero()[:, 0]  # numbers in (1, P, C) as one row
        self.contexts = (level[self._where] + first).short().numpy()

    def integers(self, distance: torch.Tensor) -> torch.Tensor:
        """What codes rounded distances (1, P, C) from the mean, (n,)."""
        return distance.flatten()[self._where]

    def distances(self, integers: torch.Tensor) -> torch.Tensor:
        """The distances (1, P, C) that integers, float64 (n,), code."""
        return self.scatter(integers)

    def scatter(self, values: torch.Tensor) -> torch.Tensor:
        """Values (n,) of what is coded, and zero of the rest, as (1, P, C)."""
        everything = torch.zeros(self._shape.numel(), dtype=values.dtype)
        return everything.index_copy_(0, self._where, values).view(self._shape)


class IntegerChoice:
    """What is coded of integers, and in which contexts: the difference from the integer nearest the mean.

    It is counted in the direction of the mean, so that one context serves both sides of that integer.
    contexts: int16 (n,), one for each scale and, where this is small, distance of the mean from the integer.
    """

    def __init__(
        self,
        mean: torch.Tensor,
        log_scale: torch.Tensor,
        first: int,
    ):
        """As of a DistanceChoice."""
        self._shape = mean.shape
        self._above = (mean - mean.round()).flatten()  # of the mean, above the nearest integer
        self._side = torch.where(self._above < 0, -1.0, 1.0).to(mean.dtype)
        level = _level(log_scale).clamp_min(0)
        fraction = (self._above.abs() * (2 * FRACTIONS)).int().clamp(0, FRACTIONS - 1)
        fine = level * FRACTIONS + fraction
        coarse = level + FINE_LEVELS * (FRACTIONS - 1)
        self.contexts = (torch.where(level < FINE_LEVELS, fine, coarse) + first).short().numpy()

    def integers(self, distance: torch.Tensor) -> torch.Tensor:
        """What codes distances (1, P, C) of integers from the mean, (n,)."""
        return self._side * (distance.flatten() + self._above)

    def distances(self, integers: torch.Tensor) -> torch.Tensor:
        """The distances (1, P, C) that integers, float64 (n,), code."""
        return self.scatter(self._side * integers - self._above)

    def scatter(self, values: torch.Tensor) -> torch.Tensor:
        """Values (n,) of what is coded, which is everything, as (1, P, C)."""
        return values.view(self._shape)


@dataclasses.dataclass(frozen=True)
class AdaptiveModel:
    """What an adaptive model is for.

    log_scale: of the deviation, log2; above: how far the mean is above the integer that is coded as zero.
    """

    log_scale: float
    above: float = 0.0


# z is coded as distances, by the first models of a bank; the latents' models come after them.
HYPER_MODELS = [AdaptiveModel(_log_scale(level)) for level in range(LEVELS)]


class Kind(abc.ABC):
    """A kind of latents: how they become integers, and which adaptive models code these.

    round, round_nearest, round_softly: policies of `quantize.py`: that of coding; the one with no dead zone;
    and the soft one, which has a gradient and a `sharpness` besides.
    limits: int64 (K,), the largest magnitudes of quantized latents, in steps.
    """

    def __init__(
        self,
        round: Callable,
        round_nearest: Callable,
        round_softly: Callable,
        limits: torch.Tensor,
    ):
        self.round, self.round_nearest, self.round_softly = round, round_nearest, round_softly
        self.limits = limits

    def clip(self, y: torch.Tensor) -> torch.Tensor:
        """Latents (N, K, h, w) brought to where they can be coded, once they are rounded."""
        most = (self.limits + 0.49).clamp(max=LARGEST).to(y.device).view(1, -1, 1, 1)
        return torch.clamp(y, -most, most)

    @abc.abstractmethod
    def choose(self, group: order.Group) -> DistanceChoice | IntegerChoice:
        """What is coded of a group of settled mean and scale, and in which contexts."""

    @abc.abstractmethod
    def adaptive_models(self, slice_count: int) -> list[AdaptiveModel]:
        """The models of all contexts, for z and so many slices."""


class IntegerLatents(Kind):
    """Latents of hard and soft mode, which become integers that their digits can hold."""

    def __init__(self, digits: tuple, bits: int):
        """digits: of each component, as of `quantize.split_digits`; bits: B of the quantizer."""
        nearest = functools.partial(quantize.round_to_integers, B=bits)
        super().__init__(nearest, nearest, quantize.soften_to_integers, quantize.limits(digits, bits))

    def choose(self, group):
        first = len(HYPER_MODELS) + group.step.slice * INTEGER_LEVELS
        return IntegerChoice(group.mean, group.log_scale, first)

    def adaptive_models(self, slice_count):
        fine = [
            AdaptiveModel(_log_scale(level), (fraction + 0.5) / (2 * FRACTIONS))
            for level in range(FINE_LEVELS)
            for fraction in range(FRACTIONS)
        ]
        coarse = [AdaptiveModel(_log_scale(level), 0.25) for level in range(FINE_LEVELS, LEVELS)]
        return HYPER_MODELS + (fine + coarse) * slice_count


class DistanceLatents(Kind):
    """Latents of variable mode, whose distances from their means become integers."""

    def __init__(self, digits: tuple, bits: int):
        """As of IntegerLatents, of which only the number of components matters."""
        super().__init__(
            quantize.round_with_dead_zone,
            quantize.round_plainly,
            quantize.soften_plainly,
            torch.full((len(digits),), LARGEST + 1),
        )

    def choose(self, group):
        first = len(HYPER_MODELS) + group.step.slice * LEVELS
        return DistanceChoice(group.mean, group.log_scale, first)

    def adaptive_models(self, slice_count):
        return HYPER_MODELS + [AdaptiveModel(_log_scale(level)) for level in range(LEVELS)] * slice_count


KINDS = {"integers": IntegerLatents, "distances": DistanceLatents}  # by the name in `modes.py`


@dataclasses.dataclass(frozen=True)
class Coded:
    """What is coded at positions (P,) of z or of a slice: integers (n,) in the contexts of a choice."""

    positions: torch.Tensor
    choice: DistanceChoice | IntegerChoice
    integers: np.ndarray


def _choose_hyper(entropy_model, shape, t):
    """Mean (1, P, Z) of z and the choice that codes it, before all else; shape: of z."""
    exact.suit(entropy_model)
    mean, log_scale = (p.expand(-1, shape[0] * shape[1], -1) for p in entropy_model.hyper_parameters(t))
    return mean, DistanceChoice(mean, log_scale, first=0)


def _code_hyper(entropy_model, z, t):
    """The Coded of real z (1, Z, h, w), and z as it is quantized."""
    mean, choice = _choose_hyper(entropy_model, z.shape[2:], t)
    integers = choice.integers((order.to_rows(z) - mean).round())
    quantized = order.from_rows(mean + choice.distances(integers), z.shape[2:])
    return Coded(torch.arange(mean.shape[1]), choice, integers.int().numpy()), quantized


def _walk(entropy_model, z, shape, t):
    """The order.Walk of latents of a shape (h, w), after quantized z."""
    return order.Walk(entropy_model, z, shape, t, band=max(2, BAND // shape[1] // 2 * 2))


def _code_latents(entropy_model, kind, y, z, t) -> Iterator[Coded]:
    """What is coded of real latents y (1, K, h, w), group by group, after quantized z."""
    slices = [order.to_rows(part) for part in y.split(entropy_model.slices, 1)]
    walk = _walk(entropy_model, z, y.shape[2:], t)
    for group in walk:
        distance = kind.round(group.of(slices) - group.mean, group.mean, group.log_scale)
        choice = kind.choose(group)
        integers = choice.integers(distance)
        yield Coded(group.positions, choice, integers.int().numpy())
        walk.put(group, group.mean + choice.distances(integers))


@exact.arithmetic
def symbols(
    entropy_model: EntropyModel,
    kind: Kind,
    latents: Latents,
    t: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Integers int32 (n,), and contexts int16 (n,), that code real latents at rate t, in coding order."""
    hyper, z = _code_hyper(entropy_model, latents.z, _as_tensor(t))
    integers, contexts = [hyper.integers], [hyper.choice.contexts]
    for coded in _code_latents(entropy_model, kind, latents.y, z, _as_tensor(t)):
        integers.append(coded.integers)
        contexts.append(coded.choice.contexts)
    return _join(integers), _join(contexts)


def _join(arrays):
    """The arrays as one; they are given up, since of a large picture they are large."""
    whole = np.concatenate(arrays)
    arrays.clear()
    return whole


def _as_tensor(t):
    return torch.tensor([t], dtype=torch.float64)


class LatentCoder:
    """Codes latents of a kind with a frozen entropy model and a bank of adaptive models that fits it."""

    def __init__(
        self,
        entropy_model: EntropyModel,
        kind: Kind,
        bank: entropy.Bank,
    ):
        """Raises ValueError for a bank of another number of models."""
        if len(bank) != len(kind.adaptive_models(len(entropy_model.slices))):
            raise ValueError("the bank is not one for these latents")
        self.entropy_model, self.kind, self.bank = entropy_model, kind, bank

    def encode(self, latents: Latents, t: float) -> bytes:
        """The payload of real latents within +-LARGEST, at rate t."""
        integers, contexts = symbols(self.entropy_model, self.kind, latents, t)
        return entropy.encode(integers, contexts, self.bank)

    @exact.arithmetic
    def decode(
        self,
        payload: bytes,
        shape: tuple[int, int],
        t: float,
    ) -> Latents:
        """The quantized latents, float32, in a payload; shape: (h, w) of y.

        Raises entropy.PayloadError if the payload is damaged.
        """
        reader = entropy.Reader(payload, self.bank)
        hyper_shape = tuple(-(-side // order.HYPER_STRIDE) for side in shape)
        mean, choice = _choose_hyper(self.entropy_model, hyper_shape, _as_tensor(t))
        z = order.from_rows(_read(reader, choice, mean, LARGEST + 1), hyper_shape)

        limits = self.kind.limits.split(self.entropy_model.slices)
        walk = _walk(self.entropy_model, z, shape, _as_tensor(t))
        for group in walk:
            walk.put(group, _read(reader, self.kind.choose(group), group.mean, limits[group.step.slice]))
        reader.close()
        return Latents(walk.latents(), z.float())

    @exact.arithmetic
    def code_lengths(self, latents: Latents, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Bits at each position of y, float64 (h, w), and of z, (ceil(h/4), ceil(w/4)).

        latents: real or quantized. The bits are those of the initial probabilities: the adaptive models need
        mostly a little less.
        """
        hyper, z = _code_hyper(self.entropy_model, latents.z, _as_tensor(t))
        shape, bits_z = latents.y.shape[2:], self._bits(hyper).reshape(latents.z.shape[2:])
        bits_y = np.zeros(shape[0] * shape[1])
        for coded in _code_latents(self.entropy_model, self.kind, latents.y, z, _as_tensor(t)):
            bits_y[coded.positions.numpy()] += self._bits(coded)
        return bits_y.reshape(shape), bits_z

    def _bits(self, coded):
        """Bits, float64 (P,), at each position."""
        lengths = self.bank.code_lengths(coded.integers, coded.choice.contexts)
        return coded.choice.scatter(torch.from_numpy(lengths))[0].sum(1).numpy()


def _read(reader, choice, mean, limit):
    """Latents (1, P, C) that a reader gives for a choice; mean: theirs; limit: number or (C,), of magnitudes.

    Raises entropy.PayloadError for what is beyond it.
    """
    latents = mean + choice.distances(torch.from_numpy(reader.read(choice.contexts)).double())
    if not (latents.abs() <= limit).all():
        raise entropy.PayloadError("the payload is damaged")
    return latents


def fit(
    entropy_model: EntropyModel,
    kind: Kind,
    samples: Iterable[tuple[Latents, float]],
) -> LatentCoder:
    """A coder whose adaptive models start from what they meet in samples: real latents, with their rate."""
    coded = [symbols(entropy_model, kind, latents, t) for latents, t in samples]
    integers, contexts = (np.concatenate(arrays) for arrays in zip(*coded))
    return LatentCoder(entropy_model, kind, fit_bank(kind, len(entropy_model.slices), integers, contexts))


def fit_bank(
    kind: Kind,
    slice_count: int,
    integers: np.ndarray,
    contexts: np.ndarray,
) -> entropy.Bank:
    """The bank for integers (n,) in contexts (n,): what was counted, and Laplacian where little was."""
    weights = []
    for context, model in enumerate(kind.adaptive_models(slice_count)):
        reach = min(int(7 * 2**model.log_scale) + 3, 2 * kind.limits.max().item())
        distance = torch.arange(-reach, reach + 1, dtype=torch.float64) - model.above
        bits = laplacian_bits(distance, torch.tensor(model.log_scale, dtype=torch.float64))
        counted = integers[(contexts == context) & (np.abs(integers) <= reach)] + reach
        counts = np.bincount(counted, minlength=2 * reach + 1)
        weights.append((-reach, counts + PRIOR * torch.exp2(-bits).numpy()))
    return entropy.Bank.from_weights(weights)
