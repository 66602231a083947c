"""Latents to a payload and back, stripe by stripe: z first, then y group by group in the order of `order.py`.

`entropy_model.EntropyModel` gives a mean and a scale for every latent. There are three kinds of latents:

- `IntegerLatents`, of soft mode: latents become integers;
- `DistanceLatents`, of variable mode: the distances of latents from their means become integers;
- `DealtLatents`, of hard mode: they too, as digits, of which there are not enough for all.

A kind says everything in which they differ: how latents are rounded, and which integer is coded in which
context, that is, by which adaptive model of the bank. `LatentCoder` is the same for all. Everything that
chooses a context is exact, see `exact.py`, and part of the format.
"""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from coding import dealing, entropy, order, packing, scales
from coding.entropy_model import EntropyModel
from coding.modes import TUNES
from coding.order import HYPER_STRIDE
from coding.walk import Group, Walk

LARGEST = 2**15 - 1  # magnitude of a latent before it is rounded
BAND = 4096  # positions, about, that are coded together, and that the integers of hard mode are dealt among
PRIOR = 300  # integers that the Laplacian start of an adaptive model counts for, beside those of training

# By how much thresholds move outwards, for a deviation of one step, and at most.
DEAD_ZONE, LARGEST_DEAD_ZONE = 0.05, 0.2
# Integers: the distance of the mean from the nearest integer chooses too, up to a deviation of 2.6 steps.
FRACTIONS = 4  # parts of the half step between the nearest integer and the mean
FINE_LEVELS = 20  # levels that are divided into them
INTEGER_LEVELS = FINE_LEVELS * FRACTIONS + scales.LEVELS - FINE_LEVELS


@dataclasses.dataclass(frozen=True)
class Latents:
    """What is coded of a picture, or of a stripe of it, in quantization steps, float32.

    y: (h, w, K); z: (ceil(h/4), ceil(w/4), Z), the hyper-latents.
    """

    y: np.ndarray
    z: np.ndarray


@dataclasses.dataclass(frozen=True)
class Measured:
    """What coding latents comes to.

    bits_y, bits_z: code lengths at each position of y, float64 (h, w), and of z, (ceil(h/4), ceil(w/4)).
    y: (h, w, K), quantized.
    """

    bits_y: np.ndarray
    bits_z: np.ndarray
    y: np.ndarray

    @property
    def bits(self) -> float:
        """Of everything."""
        return self.bits_y.sum() + self.bits_z.sum()

    def bits_per_position(self) -> np.ndarray:
        """Bits, float64 (h, w), where latents share those of the position of z that stands for them."""
        rows, columns = self.bits_y.shape
        shared = np.kron(self.bits_z, np.ones((HYPER_STRIDE, HYPER_STRIDE)))[:rows, :columns]
        return self.bits_y + shared / HYPER_STRIDE**2


class DistanceChoice:
    """What is coded of distances from the mean, and in which contexts.

    contexts: int16 (n,), one for each scale; nothing is coded where the scale is so small that the distance
    is all but certain to be zero.
    """

    def __init__(self, mean: np.ndarray, log_scale: np.ndarray, first: int):
        """mean, log_scale: settled, both (P, C); first: the first of the contexts to choose from."""
        self._shape, level = mean.shape, scales.level_of(log_scale).astype(np.int32).ravel()
        self._where = np.flatnonzero(level >= 0)  # numbers in (P, C) as one row
        self.contexts = (level[self._where] + first).astype(np.int16)

    def integers(self, distance: np.ndarray) -> np.ndarray:
        """What codes rounded distances (P, C) from the mean, float64 (n,)."""
        return distance.ravel()[self._where]

    def distances(self, integers: np.ndarray) -> np.ndarray:
        """The distances (P, C) that integers, float64 (n,), code."""
        return self.scatter(integers)

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) of what is coded, and zero of the rest, as (P, C)."""
        everything = np.zeros(self._shape, values.dtype)
        everything.ravel()[self._where] = values
        return everything


class IntegerChoice:
    """What is coded of integers, and in which contexts: the difference from the integer nearest the mean.

    It is counted in the direction of the mean, so that one context serves both sides of that integer.
    contexts: int16 (n,), one for each scale and, where this is small, distance of the mean from the integer.
    """

    def __init__(self, mean: np.ndarray, log_scale: np.ndarray, first: int):
        """As of a DistanceChoice."""
        self._shape = mean.shape
        self._above = (mean - np.rint(mean)).ravel()  # of the mean, above the nearest integer
        self._side = np.where(self._above < 0, -1.0, 1.0)
        level = scales.index_of(log_scale).ravel()
        fraction = (np.abs(self._above) * (2 * FRACTIONS)).astype(np.int64).clip(0, FRACTIONS - 1)
        fine = level * FRACTIONS + fraction
        coarse = level + FINE_LEVELS * (FRACTIONS - 1)
        self.contexts = (np.where(level < FINE_LEVELS, fine, coarse) + first).astype(np.int16)

    def integers(self, distance: np.ndarray) -> np.ndarray:
        """What codes distances (P, C) of integers from the mean, float64 (n,)."""
        return self._side * (distance.ravel() + self._above)

    def distances(self, integers: np.ndarray) -> np.ndarray:
        """The distances (P, C) that integers, float64 (n,), code."""
        return self.scatter(self._side * integers - self._above)

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) of what is coded, which is everything, as (P, C)."""
        return values.reshape(self._shape)


@dataclasses.dataclass(frozen=True)
class AdaptiveModel:
    """What an adaptive model is for.

    log_scale: of the deviation, log2; above: how far the mean is above the integer that is coded as zero.
    """

    log_scale: float
    above: float = 0.0


# z is coded as distances, by the first models of a bank; the latents' models come after them.
HYPER_MODELS = [AdaptiveModel(scales.log_scale_of(level)) for level in range(scales.LEVELS)]


class Kind(abc.ABC):
    """A kind of latents: how they become integers, and which adaptive models code these.

    limits: int64 (K,), the largest magnitudes of quantized latents, in steps.
    wanted: integers that a latent of each level of scale asks for, or None where all latents are coded.
    """

    def __init__(self, limits: np.ndarray, wanted: np.ndarray | None = None):
        self.limits, self.wanted = limits, wanted

    @property
    def most(self) -> np.ndarray:
        """The magnitudes, float64 (K,), that real latents are clipped to so that they can be coded."""
        return np.minimum(self.limits + 0.49, LARGEST)

    @abc.abstractmethod
    def round(self, distance: np.ndarray, mean: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
        """What distances from the mean become, each (P, C), in steps: the policy of coding."""

    def deal(self, walk: Walk) -> Iterable[Group]:
        """The groups of a walk, with the scales that they are coded with."""
        return walk

    def holds(self, distance: np.ndarray, log_scale: np.ndarray) -> bool:
        """Whether an encoder codes such distances from the mean, (P, C)."""
        return True

    @abc.abstractmethod
    def choose(self, group: Group) -> DistanceChoice | IntegerChoice:
        """What is coded of a group of settled mean and scale, and in which contexts."""

    @abc.abstractmethod
    def adaptive_models(self, slice_count: int) -> list[AdaptiveModel]:
        """The models of all contexts, for z and so many slices."""


class IntegerLatents(Kind):
    """Latents of soft mode, which become integers within what they share of one."""

    def __init__(self, digits: Sequence[int], bits: int):
        """digits: of each component, as of `packing.py`; bits: B of the quantizer."""
        groups = packing.groups(digits, bits)
        super().__init__(np.array([group.limit for group in groups for _ in range(group.components)]))
        self._bits = bits

    def round(self, distance, mean, log_scale):
        """To the integer that is nearest to the latent; see `quantize.round_to_integers`."""
        B = self._bits
        f = (distance + mean).astype(np.float32) / np.float32(2**B) + np.float32(0.5)
        return np.floor(f * np.float32(2**B) + np.float32(0.5)) - 2 ** (B - 1) - mean

    def choose(self, group):
        first = len(HYPER_MODELS) + group.step.slice * INTEGER_LEVELS
        return IntegerChoice(group.mean, group.log_scale, first)

    def adaptive_models(self, slice_count):
        fine = [
            AdaptiveModel(scales.log_scale_of(level), (fraction + 0.5) / (2 * FRACTIONS))
            for level in range(FINE_LEVELS)
            for fraction in range(FRACTIONS)
        ]
        coarse = [
            AdaptiveModel(scales.log_scale_of(level), 0.25) for level in range(FINE_LEVELS, scales.LEVELS)
        ]
        return HYPER_MODELS + (fine + coarse) * slice_count


class DistanceLatents(Kind):
    """Latents of variable mode, whose distances from their means become integers."""

    def __init__(self, digits: Sequence[int], bits: int, wanted: np.ndarray | None = None):
        """As of IntegerLatents, where only the number of components matters, and of a Kind."""
        super().__init__(np.full(len(digits), LARGEST + 1), wanted)

    def round(self, distance, mean, log_scale):
        """With all thresholds moved outwards; see `quantize.round_with_dead_zone`."""
        zone = np.minimum(DEAD_ZONE * np.exp2(-log_scale), LARGEST_DEAD_ZONE)
        return (
            np.sign(distance)
            * np.floor(np.abs(distance) + 0.5 - zone)
            * (log_scale >= scales.LEAST_LOG_SCALE)
        )

    def choose(self, group):
        first = len(HYPER_MODELS) + group.step.slice * scales.LEVELS
        return DistanceChoice(group.mean, group.log_scale, first)

    def adaptive_models(self, slice_count):
        return HYPER_MODELS * (1 + slice_count)


class DealtLatents(DistanceLatents):
    """Latents of hard mode, whose distances have the digits that `dealing.py` deals."""

    def __init__(self, digits: Sequence[int], bits: int):
        """As of DistanceLatents; bits: B of the quantizer."""
        super().__init__(digits, bits, dealing.by_level(bits))
        self.distance_limits = dealing.limit(self.wanted, bits)  # by level of scale

    def round(self, distance, mean, log_scale):
        """As of DistanceLatents, within what the digits hold; see `quantize.round_within_digits`."""
        limit = self.distance_limits[scales.index_of(log_scale)]
        return super().round(distance, mean, log_scale).clip(-limit, limit)

    def holds(self, distance, log_scale):
        return bool((np.abs(distance) <= self.distance_limits[scales.index_of(log_scale)]).all())

    def deal(self, walk):
        return dealing.deal(walk, walk.steps, self.wanted)


# By the name in `modes.py`.
KINDS = {"integers": IntegerLatents, "distances": DistanceLatents, "dealt": DealtLatents}


@dataclasses.dataclass(frozen=True)
class Coded:
    """What is coded at positions (P,) of z or of a slice: integers int32 (n,) in the contexts of a choice."""

    positions: np.ndarray
    choice: DistanceChoice | IntegerChoice
    integers: np.ndarray


def _rows(array):
    """Latents (h, w, C) with positions in rows, (h * w, C)."""
    return array.reshape(-1, array.shape[-1])


def _choose_hyper(entropy_model, shape, t):
    """Mean (P, Z) of z and the choice that codes it, before all else; shape: (h, w) of z."""
    parameters = entropy_model.hyper_parameters(t)
    mean, log_scale = (np.broadcast_to(p, (shape[0] * shape[1], len(p))) for p in parameters)
    return mean, DistanceChoice(mean, log_scale, first=0)


def _code_hyper(entropy_model, z, t):
    """The Coded of real z (h, w, Z), and z as it is quantized, float64."""
    mean, choice = _choose_hyper(entropy_model, z.shape[:2], t)
    integers = choice.integers(np.rint(_rows(z) - mean))
    quantized = (mean + choice.distances(integers)).reshape(z.shape)
    return Coded(np.arange(len(mean)), choice, integers.astype(np.int32)), quantized


def _walk(entropy_model, z, shape, t, tune):
    """The Walk of latents of a shape (h, w), after quantized z."""
    return Walk(entropy_model, z, shape, t, tune, band=max(2, BAND // shape[1] // 2 * 2))


def _code_latents(entropy_model, kind, y, walk) -> Iterator[Coded]:
    """What is coded of real latents y (h, w, K), group by group of a walk, which then has them quantized."""
    ends = np.cumsum(entropy_model.slices)[:-1]
    slices = np.split(_rows(y), ends, 1)
    for group in kind.deal(walk):
        distance = kind.round(group.distance(slices), group.mean, group.log_scale)
        choice = kind.choose(group)
        integers = choice.integers(distance)
        yield Coded(group.positions, choice, integers.astype(np.int32))
        walk.put(group, group.latents(choice.distances(integers)))


def _code(entropy_model, kind, latents, t, tune) -> Iterator[Coded]:
    """What is coded of real latents at rate t for a tune, in coding order: z, then y."""
    hyper, z = _code_hyper(entropy_model, latents.z, t)
    yield hyper
    walk = _walk(entropy_model, z, latents.y.shape[:2], t, tune)
    yield from _code_latents(entropy_model, kind, latents.y, walk)


def symbols(
    entropy_model: EntropyModel,
    kind: Kind,
    latents: Latents,
    t: float,
    tune: str = TUNES[0],
) -> tuple[np.ndarray, np.ndarray]:
    """Integers int32 (n,), and contexts int16 (n,), that code real latents at rate t for a tune, in coding
    order."""
    coded = list(_code(entropy_model, kind, latents, t, tune))
    return np.concatenate([part.integers for part in coded]), np.concatenate(
        [part.choice.contexts for part in coded]
    )


class LatentCoder:
    """Codes latents of a kind with an entropy model and a bank of adaptive models that fits it.

    tune: of modes.TUNES, whose quantization steps the latents have
    """

    def __init__(
        self,
        entropy_model: EntropyModel,
        kind: Kind,
        bank: entropy.Bank,
        tune: str = TUNES[0],
    ):
        """Raises ValueError for a bank of another number of models, and for a tune that the model lacks."""
        if len(bank) != len(kind.adaptive_models(len(entropy_model.slices))):
            raise ValueError("the bank is not one for these latents")
        if tune not in entropy_model.tunes:
            raise ValueError("the entropy model has no quantization steps for this tune")
        self.entropy_model, self.kind, self.bank, self.tune = entropy_model, kind, bank, tune

    def tuned(self, tune: str) -> "LatentCoder":
        """The coder of the same latents with the quantization steps of another tune; raises ValueError."""
        return self if tune == self.tune else LatentCoder(self.entropy_model, self.kind, self.bank, tune)

    def encode(self, stripes: Iterable[Latents], t: float) -> bytes:
        """The payload of a picture's real latents within +-LARGEST, at rate t.

        stripes: those of `order.stripes`.
        """
        writer = entropy.Writer(self.bank)
        for latents in stripes:
            for coded in _code(self.entropy_model, self.kind, latents, t, self.tune):
                writer.write(coded.integers, coded.choice.contexts)
        return writer.close()

    def decode(
        self,
        payload: bytes,
        shape: tuple[int, int],
        t: float,
    ) -> Iterator[Latents]:
        """The quantized latents in a payload, stripe by stripe; shape: (h, w) of all of y.

        Raises entropy.PayloadError if the payload is damaged.
        """
        reader = entropy.Reader(payload, self.bank)
        for rows in order.stripes(*shape):
            yield self._read_stripe(reader, (rows.stop - rows.start, shape[1]), t)
        reader.close()

    def _read_stripe(self, reader, shape, t):
        """The next Latents of a reader; shape: theirs."""
        hyper_shape = tuple(-(-side // HYPER_STRIDE) for side in shape)
        mean, choice = _choose_hyper(self.entropy_model, hyper_shape, t)
        z = (mean + _read(reader, choice)).reshape(*hyper_shape, -1)
        if not (np.abs(z) <= LARGEST + 1).all():
            raise entropy.PayloadError("the payload is damaged")

        limits = np.split(self.kind.limits, np.cumsum(self.entropy_model.slices)[:-1])
        walk = _walk(self.entropy_model, z, shape, t, self.tune)
        for group in self.kind.deal(walk):
            distance = _read(reader, self.kind.choose(group))
            # The largest latent there is was rounded, by half a step of more or less than one.
            limit = limits[group.step.slice] + group.delta - 1
            latents = group.mean + distance * group.delta
            if not ((np.abs(latents) <= limit).all() and self.kind.holds(distance, group.log_scale)):
                raise entropy.PayloadError("the payload is damaged")
            walk.put(group, group.latents(distance))
        return Latents(walk.latents(), z.astype(np.float32))

    def measure(self, latents: Latents, t: float) -> Measured:
        """What coding a stripe of latents, real or quantized, comes to.

        The bits are those of the initial probabilities: the adaptive models need mostly a little less.
        """
        hyper, z = _code_hyper(self.entropy_model, latents.z, t)
        shape, bits_z = latents.y.shape[:2], self._bits(hyper).reshape(latents.z.shape[:2])
        bits_y, walk = np.zeros(shape[0] * shape[1]), _walk(self.entropy_model, z, shape, t, self.tune)
        for coded in _code_latents(self.entropy_model, self.kind, latents.y, walk):
            bits_y[coded.positions] += self._bits(coded)
        return Measured(bits_y.reshape(shape), bits_z, walk.latents())

    def _bits(self, coded):
        """Bits, float64 (P,), at each position."""
        lengths = self.bank.code_lengths(coded.integers, coded.choice.contexts)
        return coded.choice.scatter(lengths).sum(1)


def _read(reader, choice):
    """Distances (P, C) from the mean, in quantization steps, that a reader gives for a choice."""
    return choice.distances(reader.read(choice.contexts).astype(np.float64))


def fit(
    entropy_model: EntropyModel,
    kind: Kind,
    samples: Iterable[tuple[Latents, float]],
) -> LatentCoder:
    """A coder whose adaptive models start from what they meet in samples: real latents, with their rate.

    They are those of the first tune, whose models serve all.
    """
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
        shares = _laplacian(np.arange(-reach, reach + 1) - model.above, 2**model.log_scale)
        counted = integers[(contexts == context) & (np.abs(integers) <= reach)] + reach
        counts = np.bincount(counted, minlength=2 * reach + 1)
        weights.append((-reach, counts + PRIOR * shares))
    return entropy.Bank.from_weights(weights)


def _laplacian(distance, deviation):
    """Probabilities (n,) of distances (n,) from the mean under a Laplace distribution, one step each."""
    rate, distance = 2**0.5 / deviation, np.abs(distance)
    near = 1 - np.exp(-0.5 * rate) * np.cosh(rate * np.minimum(distance, 0.5))
    far = 0.5 * np.exp(-rate * (distance - 0.5)) * -np.expm1(-rate)
    return np.where(distance < 0.5, near, far)
