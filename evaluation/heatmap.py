"""Where the bits of a `.encoded` file go: the code length of each position of its latents."""

import numpy as np

import codec
from coding.order import HYPER_STRIDE
from engines.pair import Decoder


def bits_per_position(data: bytes, decoder: Decoder) -> np.ndarray:
    """Bits, float64 (ceil(H/16), ceil(W/16)), that a `.encoded` file spends on each position.

    data: bytes of the file
    decoder: that it needs

    Code lengths under the initial probabilities: the adaptive models adapt, so that the sum is near the size
    of the payload and not equal to it. Raises what codec.decompress raises.
    """
    encoded = codec.unpack(data, decoder)
    stripes = codec.decode_latents(encoded, decoder)
    return np.concatenate([_of_stripe(latents, encoded.setting.t, decoder) for latents in stripes])


def _of_stripe(latents, t, decoder):
    """Bits (h, w) of the positions of a stripe."""
    bits, hyper_bits = decoder.coder.code_lengths(latents, t)
    # One position of z stands for a square of latents, which share its bits.
    rows, columns = bits.shape
    shared = np.kron(hyper_bits, np.ones((HYPER_STRIDE, HYPER_STRIDE)))[:rows, :columns]
    return bits + shared / HYPER_STRIDE**2
