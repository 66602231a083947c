"""The quantiser: real latents in [0, 1] to integers in [0, 2^B] and back.

Two formulas, one for each phase. Inference rounds, b = floor(f * 2^B + 0.5); training cannot
differentiate that, so it adds noise as wide as one step, f + 2^-B * u with u uniform in
[-1/2, 1/2] (Balle et al. 2017, "End-to-end optimized image compression", section 3), or rounds
and passes the gradient straight through (Theis et al. 2017, "Lossy image compression with
compressive autoencoders", section 2.1).
"""
import torch

# Bits of the latent in each mode: 2^B steps between 0 and 1. Variable mode has B = 10 + t, t the rate.
BITS = {"hard": 2, "soft": 10, "variable": 10}
# By how much thresholds move outwards, for a deviation of one step, and at most.
DEAD_ZONE, LARGEST_DEAD_ZONE = 0.05, 0.2
# Where the scale is smaller, variable mode codes every distance as zero, with no bits: part of the format, as the dead zone
# is not.
LEAST_LOG_SCALE = -3.625


def quantize(f, B):
    """Round latents of any shape to integers in [0, 2^B], returned as a float tensor."""
    return torch.floor(f * 2**B + 0.5).clamp(0, 2**B)


def dequantize(b, B):
    """Map integers in [0, 2^B] of any shape back to [0, 1]; inverse of `quantize` up to half a step."""
    return b / 2**B


def add_noise(f, B):
    """Stand in for rounding in training: latents of any shape plus noise one step wide."""
    return f + (torch.rand_like(f) - 0.5) * 2**-B


def straight_through(rounded, real):
    """The values of `rounded` with the gradient of `real`, both of any shape."""
    return real + (rounded - real).detach()


def round_to_zero(distance, log_scale):
    """Integers, as floats, for distances from a mean in steps, of any shape; the dead zone around zero is wider
    than the other intervals, and all are moved outwards.

    Of two integers the one nearer the mean costs fewer bits, by 2.04 / deviation under a Laplace distribution, and is
    worth a larger error: the rate-distortion optimal thresholds of Sullivan 1996, "Efficient scalar quantization of
    exponential and Laplacian random variables". log_scale: log2 of the deviation.
    """
    zone = (DEAD_ZONE * torch.exp2(-log_scale)).clamp(max=LARGEST_DEAD_ZONE)
    return distance.sign() * torch.floor(distance.abs() + 0.5 - zone) * (log_scale >= LEAST_LOG_SCALE)


def limits(digits, B):
    """The largest magnitudes (K,) of components of `digits` digits of 2^B + 1 levels each, as integers."""
    return torch.tensor([((2**B + 1) ** count - 1) // 2 for count in digits])


def split_digits(y, digits, B):
    """Write K latents as D = sum(digits) latents of 2^B + 1 levels each: residual quantisation.

    Five levels cannot hold the brightness of a block; two latents of five levels hold 25. All but the
    last digit of a latent are whole numbers, and the last is what they leave, so that its rounding is
    the rounding of the whole (multistage quantisation, Juang and Gray 1982). With one digit each this
    is the identity.
    y: (N, K, H, W), real, in steps around zero; digits: K counts; returns (N, D, H, W) in steps,
    coarse digits first, for which `join_digits` is the inverse.
    """
    base, out = 2**B + 1, []
    for part, count in zip(y.split(1, 1), digits):
        for power in range(count - 1, 0, -1):
            coarse = torch.round(part / base**power).clamp(-(2 ** (B - 1)), 2 ** (B - 1))
            part = part - coarse * base**power
            out.append(coarse)
        out.append(part)
    return torch.cat(out, 1)


def join_digits(z, digits, B):
    """Latents (N, K, H, W) of their digits z (N, D, H, W), both in steps around zero."""
    base = 2**B + 1
    return torch.cat([sum(digit * base**power for power, digit in enumerate(reversed(part.split(1, 1))))
                      for part in z.split(list(digits), 1)], 1)


def to_latent(y, digits, B):
    """The latent, (N, D, H, W), of components y (N, K, H, W): integers in [0, 2^B] where y are integers within their
    `limits`."""
    return split_digits(y, digits, B) + 2**(B - 1)


def to_components(b, digits, B):
    """The components, float (N, K, H, W), of a latent b (N, D, H, W) in [0, 2^B]; inverse of `to_latent`."""
    return join_digits(b.float() - 2**(B - 1), digits, B)
