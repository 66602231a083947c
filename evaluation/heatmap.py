"""Where the bits of a `.encoded` file go: the code length of each position of its latents."""

import numpy as np

import codec
from engines import tiled
from engines.pair import Decoder
from layers import exact


def bits_per_position(data: bytes, decoder: Decoder) -> np.ndarray:
    """Bits, float64 (ceil(H/16), ceil(W/16)), that a `.encoded` file spends on each position.

    data: bytes of the file
    decoder: that it needs

    The blocks of an exact layer share its bits, and all blocks those of a detail layer. Other bits are code
    lengths under the initial probabilities: the adaptive models adapt, so that their sum is near the size of
    the payload and not equal to it. Raises what codec.decompress raises.
    """
    encoded = codec.unpack(data, decoder)
    setting, metadata = encoded.setting, encoded.metadata
    t, coder = setting.t, decoder.coder.tuned(setting.tune)
    stripes = [
        coder.measure(latents, t).bits_per_position() for latents in codec.decode_latents(encoded, decoder)
    ]
    bits = np.concatenate(stripes) if stripes else np.zeros(tiled.shape_of(metadata))
    if metadata.layer is not None:
        mask = exact.mask_of(metadata.layer, metadata.width, metadata.height)
        bits[mask] += 8 * len(metadata.layer) / mask.sum()
    return bits + 8 * len(encoded.detail or b"") / bits.size
