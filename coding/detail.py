"""The detail layer: what decoded pixels lack of the picture, for qualities that the transforms do not reach.

The differences of the three colours are made uncorrelated, transformed by a DCT of 16x16 blocks, and divided
by the quantization step. Coefficients are coded channel by channel and diagonal by diagonal, from low
frequencies to high ones, a diagonal of all blocks of a stripe together. How large known ones nearby are
chooses the adaptive model: those in the block at lower frequencies, there in the four blocks around, and at
the same frequency in other channels. All of this is integers, and part of the format.
"""

import functools
from collections.abc import Iterable, Iterator

import numpy as np

from coding import entropy
from coding.tiles import STRIDE as SIDE

DEAD_ZONE = 0.2  # by how much thresholds are moved outwards, in steps; no part of the format
LARGEST = 2**14  # magnitude of a coefficient
MIX = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])  # of R, G, B; orthonormal

NEARBY = np.array([1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])  # sums that classes begin at, after 0
DIAGONALS_OF_CLASS, CLASSES_OF_DIAGONALS = 4, 8
# Of 256: how much less probable the next larger magnitude is at the start, in each class of NEARBY.
DECAY = (2, 14, 22, 34, 44, 58, 76, 94, 116, 140, 160, 182, 198, 216)
REACH = 64  # magnitudes that adaptive models may know


def encode(stripes: Iterable[np.ndarray], step: float) -> bytes:
    """The code of what is lacking, in levels, stripe by stripe.

    stripes: each (16 h, 16 w, 3), or (16 h, 16 w, 1) of a gray picture
    step: of quantization, in levels
    """
    writer = entropy.Writer(_bank())
    for lacking in stripes:
        scaled = _transform(lacking) / np.float32(step)
        quantized = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5 - DEAD_ZONE))
        known = _Known(*quantized.shape[:3])
        for channel, (us, vs) in known.order():
            integers = quantized[channel, :, :, us, vs]  # (n, h, w)
            writer.write(integers.ravel(), known.contexts(channel, us, vs))
            known.put(channel, us, vs, integers)
    return writer.close()


def decode(content: bytes, shapes: Iterable[tuple[int, int, int]], step: float) -> Iterator[np.ndarray]:
    """What is lacking, float32, of each stripe of some shapes (16 h, 16 w, C).

    Raises entropy.PayloadError for a damaged code.
    """
    reader = entropy.Reader(content, _bank())
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
        yield _invert(quantized * np.float32(step))
    reader.close()


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
        classes = of_channel[:, None, None] * len(DECAY) + np.searchsorted(NEARBY, nearby, "right")
        return classes.ravel()


@functools.cache
def _bank():
    """The bank of all contexts, made of integers by single operations, so that it is the same everywhere."""
    weights = []
    for decay in DECAY:
        shares = [(decay**k << 32) // 256**k for k in range(REACH + 1)]
        weights.append((-REACH, np.array(shares[:0:-1] + shares)))
    return entropy.Bank.from_weights(weights * (2 * CLASSES_OF_DIAGONALS))


def _cosines():
    """The orthonormal DCT-II of SIDE numbers, as a matrix."""
    frequency, place = np.mgrid[:SIDE, :SIDE]
    matrix = np.cos((2 * place + 1) * frequency * np.pi / (2 * SIDE)) * np.sqrt(2 / SIDE)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _mix(channels):
    """What makes so many channels uncorrelated, an orthonormal matrix."""
    return MIX.astype(np.float32) if channels == 3 else np.ones((1, 1), np.float32)


def _transform(lacking):
    """Coefficients, float32 (C, h, w, 16, 16), of differences (16 h, 16 w, C)."""
    rows, columns, channels = lacking.shape
    mixed = np.moveaxis(lacking.astype(np.float32) @ _mix(channels).T, 2, 0)
    blocks = mixed.reshape(channels, rows // SIDE, SIDE, columns // SIDE, SIDE).swapaxes(2, 3)
    return _cosines() @ blocks @ _cosines().T


def _invert(coefficients):
    """Differences of coefficients."""
    channels, rows, columns = coefficients.shape[:3]
    blocks = _cosines().T @ coefficients @ _cosines()
    mixed = blocks.swapaxes(2, 3).reshape(channels, rows * SIDE, columns * SIDE)
    return np.moveaxis(mixed, 0, 2) @ _mix(channels)
