"""Where the bits of a `.encoded` file go: the code length of each position of its latent."""

import numpy as np
import torch

import codec
import context
import entropy
import latent_coder


def bits_per_position(data, decoder):
    """Bits float64 (ceil(H/16), ceil(W/16)) that the `.encoded` file in the bytes `data` spends on each position.

    Ideal code lengths under the bank's initial probabilities: the coder adapts, so that their sum is near the payload
    and not equal to it. Raises what codec.decompress raises.
    """
    encoded = codec.unpack(data, decoder)
    bank = codec.bank_of(decoder)
    if decoder.context is None:
        latent = codec.read_latent(encoded, decoder)
        channels = np.arange(len(latent))[:, None, None]
        return _code_lengths(bank, np.broadcast_to(channels, latent.shape), latent).sum(0)

    rows, columns = (-(-side // codec.STRIDE) for side in (encoded.height, encoded.width))
    hyper = -(-rows // context.HYPER_STRIDE), -(-columns // context.HYPER_STRIDE)
    bits, hyper_bits = np.zeros(rows * columns), np.zeros(hyper[0] * hyper[1])

    def watch(index, positions, choice, values):
        lengths = torch.from_numpy(_code_lengths(bank, choice.contexts.numpy(), values.numpy()))
        (hyper_bits if index < 0 else bits)[positions.numpy()] += choice.scatter(lengths)[0].sum(1).numpy()

    latent_coder.decode(
        decoder.context, bank, encoded.payload, rows, columns, encoded.rate, decoder.config.limits, watch
    )
    # One position of z stands for a square of latents, which share its bits.
    shared = np.kron(hyper_bits.reshape(hyper), np.ones((context.HYPER_STRIDE,) * 2))[:rows, :columns]
    return bits.reshape(rows, columns) + shared / context.HYPER_STRIDE**2


def _code_lengths(bank, contexts, values):
    """Bits of integers `values` coded by the models `contexts`, float64 of their common shape."""
    symbols = values - bank.lowest[contexts] + 1
    inside = (symbols >= 1) & (symbols < bank.sizes[contexts])
    shares = bank.frequencies[contexts, np.where(inside, symbols, entropy.ESCAPE)] / entropy.SCALE
    return -np.log2(shares) + np.where(inside, 0, entropy.ESCAPE_BITS)
