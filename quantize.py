"""The quantiser: real latents in [0, 1] to integers in [0, 2^B] and back.

Two formulas, one for each phase. Inference rounds, b = floor(f * 2^B + 0.5); training cannot
differentiate that, so it adds noise as wide as one step, f + 2^-B * u with u uniform in
[-1/2, 1/2] (Balle et al. 2017, "End-to-end optimized image compression", section 3), or rounds
and passes the gradient straight through (Theis et al. 2017, "Lossy image compression with
compressive autoencoders", section 2.1).
"""
import torch

# Bits of the latent in each mode: 2^B steps between 0 and 1.
BITS = {"hard": 2, "soft": 10}


def quantize(f, B):
    """Round latents of any shape to integers in [0, 2^B], returned as a float tensor."""
    return torch.floor(f * 2**B + 0.5).clamp(0, 2**B)


def dequantize(b, B):
    """Map integers in [0, 2^B] of any shape back to [0, 1]; inverse of `quantize` up to half a step."""
    return b / 2**B


def add_noise(f, B):
    """Stand in for rounding in training: latents of any shape plus noise one step wide."""
    return f + (torch.rand_like(f) - 0.5) * 2**-B


def round_straight_through(f, B):
    """Round to the nearest level in [0, 1], with the gradient of the identity, and none outside."""
    inside = f.clamp(0, 1)
    return inside + (dequantize(quantize(f, B), B) - inside).detach()
