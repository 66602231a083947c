"""The detail layer: what decoded pixels lack of the picture, for qualities that the transforms do not reach.

The differences of the three colours are mixed to channels, transformed by a DCT of 16x16 blocks, and divided
by the quantization step, which a tune makes coarser where errors count less. Coefficients are coded channel
by channel and diagonal by diagonal, from low frequencies to high ones, a diagonal of all blocks of a stripe
together. How large known ones nearby are chooses the adaptive model: those in the block at lower frequencies,
there in the four blocks around, and at the same frequency in other channels. All of this is integers, and
part of the format.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from coding import entropy
from coding.tiles import STRIDE as SIDE

DEAD_ZONE = 0.2  # by how much thresholds are moved outwards, in steps; no part of the format
LARGEST = 2**14  # magnitude of a coefficient
NEARBY = np.array([1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])  # sums that classes begin at, after 0
DIAGONALS_OF_CLASS, CLASSES_OF_DIAGONALS = 4, 8
REACH = 64  # magnitudes that adaptive models may know
STEPS_PER_OCTAVE, DIAGONALS_OF_STEP, LAST_STEP = 8, 2, 7  # of Tune.log_factors


@dataclasses.dataclass(frozen=True)
class Tune:
    """What differs between tunes.

    colours: integers (3, 3), what each channel adds to R, G and B, before it is brought to length 1.
    log_factors: integers (3, 8), of the steps of each channel in eighths of an octave, of every two diagonals
    from low frequencies to high ones, the last for all others too.
    decay: of 256, how much less probable the next larger magnitude is at the start: (16, 14), for the classes
    of channel and frequency, and of NEARBY.
    """

    colours: tuple[tuple[int, ...], ...]
    log_factors: tuple[tuple[int, ...], ...]
    decay: tuple[tuple[int, ...], ...]


TUNES = {
    # Makes natural differences uncorrelated; orthonormal, so that the squared error is that of coefficients.
    "psnr": Tune(
        colours=((1, 1, 1), (1, 0, -1), (1, -2, 1)),
        log_factors=((0,) * 8,) * 3,
        decay=((2, 14, 22, 34, 44, 58, 76, 94, 116, 140, 160, 182, 198, 216),) * 2 * CLASSES_OF_DIAGONALS,
    ),
    # Two channels add nothing to 2 R + 3 G + B, which is near to what the eye takes for the brightness.
    # `python3 -m training.detail_steps` prints the tables.
    "eye": Tune(
        colours=((1, 1, 1), (1, 0, -2), (6, -5, 3)),
        log_factors=(
            (-10, -7, -4, -1, 0, 0, 1, 1),
            (-7, 1, 3, 3, 4, 4, 4, 4),
            (-9, -2, 0, 2, 3, 3, 3, 4),
        ),
        decay=(
            (40, 28, 39, 44, 51, 60, 67, 71, 91, 112, 157, 182, 198, 216),
            (13, 21, 27, 35, 43, 53, 59, 62, 71, 107, 160, 182, 198, 216),
            (7, 16, 24, 32, 41, 51, 58, 63, 76, 124, 160, 182, 198, 216),
            (4, 12, 19, 28, 37, 47, 54, 58, 66, 130, 159, 182, 198, 216),
            (3, 10, 17, 28, 38, 48, 56, 61, 77, 134, 160, 182, 198, 216),
            (2, 9, 17, 29, 40, 54, 66, 79, 107, 124, 159, 182, 198, 216),
            (1, 5, 12, 25, 38, 53, 74, 98, 123, 146, 167, 184, 199, 216),
            (1, 3, 8, 18, 28, 43, 59, 83, 110, 130, 157, 175, 196, 216),
            (25, 27, 24, 40, 41, 53, 63, 70, 80, 97, 144, 181, 198, 216),
            (1, 6, 10, 10, 21, 31, 45, 62, 88, 118, 153, 179, 198, 216),
            (1, 3, 7, 3, 16, 21, 41, 63, 95, 124, 163, 185, 196, 216),
            (1, 2, 6, 1, 13, 13, 36, 63, 95, 129, 158, 178, 198, 216),
            (1, 1, 5, 1, 11, 6, 27, 58, 99, 139, 160, 182, 198, 216),
            (1, 1, 5, 1, 11, 2, 7, 19, 93, 138, 160, 182, 198, 216),
            (1, 1, 4, 1, 11, 1, 1, 4, 18, 59, 155, 182, 198, 216),
            (1, 4, 11, 1, 28, 1, 4, 10, 61, 116, 160, 182, 198, 216),
        ),
    ),
}


def encode(stripes: Iterable[np.ndarray], step: float, tune: Tune) -> bytes:
    """The code of what is lacking, in levels, stripe by stripe.

    stripes: each (16 h, 16 w, 3), or (16 h, 16 w, 1) of a gray picture
    step: of quantization, in levels, before the tune's factors
    """
    writer = entropy.Writer(_bank(tune.decay))
    for lacking in stripes:
        quantized = quantize(transform(lacking, tune), steps(step, tune, lacking.shape[2]))
        for integers, contexts in in_contexts(quantized):
            writer.write(integers, contexts)
    return writer.close()


def decode(
    content: bytes,
    shapes: Iterable[tuple[int, int, int]],
    step: float,
    tune: Tune,
) -> Iterator[np.ndarray]:
    """What is lacking, float32, of each stripe of some shapes (16 h, 16 w, C).

    Raises entropy.PayloadError for a damaged code.
    """
    reader = entropy.Reader(content, _bank(tune.decay))
    for rows, columns, channels in shapes:
        known = _Known(channels, rows // SIDE, columns // SIDE)
        quantized = np.empty((channels, rows // SIDE, columns // SIDE, SIDE, SIDE), np.float32)
        for channel, (us, vs) in known.order():
            integers = reader.read(known.contexts(channel, us, vs))
            if not ((integers >= -LARGEST) & (integers <= LARGEST)).all():
                raise entropy.PayloadError("the detail layer is damaged")
            integers = integers.reshape(len(us), *quantized.shape[1:3])
            quantized[channel, :, :, us, vs] = integers
            known.put(channel, us, vs, integers)
        yield invert(quantized * steps(step, tune, channels), tune)
    reader.close()


def in_contexts(quantized: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Integers (n,) of a stripe's quantized coefficients and their contexts (n,), as they are coded."""
    known = _Known(*quantized.shape[:3])
    for channel, (us, vs) in known.order():
        integers = quantized[channel, :, :, us, vs]  # (n, h, w)
        yield integers.ravel(), known.contexts(channel, us, vs)
        known.put(channel, us, vs, integers)


class _Known:
    """The magnitudes of coefficients that are known so far, and the contexts that they choose."""

    def __init__(self, channels, rows, columns):
        """Of so many channels and blocks."""
        # Zeros lie before the lowest frequencies and around the blocks.
        self._magnitudes = np.zeros((channels, SIDE + 2, SIDE + 2, rows + 2, columns + 2), np.int32)

    def order(self):
        """Channels and diagonals as they are coded: (channel, (us, vs)), the frequencies of the diagonal."""
        for channel in range(len(self._magnitudes)):
            for total in range(2 * SIDE - 1):
                us = np.arange(max(0, total - SIDE + 1), min(total, SIDE - 1) + 1)
                yield channel, (us, total - us)

    def put(self, channel, us, vs, integers):
        """Tell what the coefficients (n, h, w) of a diagonal are."""
        self._magnitudes[channel, us + 2, vs + 2, 1:-1, 1:-1] = np.abs(integers)

    def contexts(self, channel, us, vs):
        """Contexts (n * h * w,) of the coefficients of a diagonal."""
        known, inner = self._magnitudes[channel], (slice(None), slice(1, -1), slice(1, -1))
        beside = known[us + 1, vs + 2] + known[us + 2, vs + 1]  # one frequency lower, (n, h + 2, w + 2)
        farther = known[us + 1, vs + 1] + known[us, vs + 2] + known[us + 2, vs]
        around = beside[:, :-2, 1:-1] + beside[:, 2:, 1:-1] + beside[:, 1:-1, :-2] + beside[:, 1:-1, 2:]
        others = self._magnitudes[:channel, us + 2, vs + 2].sum(0)
        nearby = 4 * beside[inner] + 2 * farther[inner] + around + 4 * others[inner]
        frequency = (us + vs) // DIAGONALS_OF_CLASS
        of_channel = (channel > 0) * CLASSES_OF_DIAGONALS + frequency
        classes = of_channel[:, None, None] * (len(NEARBY) + 1) + np.searchsorted(NEARBY, nearby, "right")
        return classes.ravel()


def steps(step: float, tune: Tune, channels: int) -> np.ndarray:
    """The quantization step of each coefficient, float32 (C, 1, 1, 16, 16), of `step` for all."""
    logs = np.array(tune.log_factors[:channels])[:, step_classes()] / STEPS_PER_OCTAVE
    return (step * 2.0**logs).astype(np.float32)[:, None, None]


def step_classes() -> np.ndarray:
    """Which of a channel's factors each coefficient has, int (16, 16)."""
    u, v = np.mgrid[:SIDE, :SIDE]
    return np.minimum((u + v) // DIAGONALS_OF_STEP, LAST_STEP)


def quantize(coefficients: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Integers, as floats, of coefficients in steps that are as of `steps`."""
    scaled = coefficients / steps
    return np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5 - DEAD_ZONE))


def transform(lacking: np.ndarray, tune: Tune) -> np.ndarray:
    """Coefficients, float32 (C, h, w, 16, 16), of differences (16 h, 16 w, C)."""
    return _cosines_of(lacking, np.linalg.inv(_colours(tune, lacking.shape[2])))


def invert(coefficients: np.ndarray, tune: Tune) -> np.ndarray:
    """Differences of coefficients."""
    channels, rows, columns = coefficients.shape[:3]
    blocks = _cosines().T @ coefficients @ _cosines()
    mixed = blocks.swapaxes(2, 3).reshape(channels, rows * SIDE, columns * SIDE)
    return np.moveaxis(mixed, 0, 2) @ _colours(tune, channels).astype(np.float32)


def gradient(of_differences: np.ndarray, tune: Tune) -> np.ndarray:
    """The gradient of a loss by coefficients, from that by the differences (16 h, 16 w, C) they make."""
    return _cosines_of(of_differences, _colours(tune, of_differences.shape[2]).T)


@functools.cache
def _bank(decay):
    """The bank of all contexts, made of integers by single operations, so that it is the same everywhere."""
    return entropy.Bank.from_weights((-REACH, _weights(its)) for its in itertools.chain(*decay))


@functools.cache
def _weights(decay):
    """Of the integers from -REACH to REACH."""
    shares = [(decay**k << 32) // 256**k for k in range(REACH + 1)]
    return np.array(shares[:0:-1] + shares)


def _cosines():
    """The orthonormal DCT-II of SIDE numbers, as a matrix."""
    frequency, place = np.mgrid[:SIDE, :SIDE]
    matrix = np.cos((2 * place + 1) * frequency * np.pi / (2 * SIDE)) * np.sqrt(2 / SIDE)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _colours(tune, channels):
    """What each of so many channels adds to each colour, (C, C), of length 1."""
    if channels == 1:
        return np.ones((1, 1))
    colours = np.array(tune.colours)
    return colours / np.sqrt(np.square(colours).sum(1, keepdims=True))


def _cosines_of(pixels, matrix):
    """The DCT, float32 (C, h, w, 16, 16), of blocks of pixels (16 h, 16 w, C) times a matrix."""
    rows, columns, channels = pixels.shape
    mixed = np.moveaxis(pixels.astype(np.float32) @ matrix.astype(np.float32), 2, 0)
    blocks = mixed.reshape(channels, rows // SIDE, SIDE, columns // SIDE, SIDE).swapaxes(2, 3)
    return _cosines() @ blocks @ _cosines().T
