"""The latents of variable mode to bits and back: z first, then the latents in four passes.

`context.ContextModel` gives a mean and a scale for every integer. They choose one of CONTEXTS adaptive
models; what is coded is the distance from the rounded mean, mirrored where the mean was rounded up, so
that a model needs to know only half of the fractions. Everything here is exact, see `exact.py`.
"""
import numpy as np
import torch

import entropy
from bitstream import RATE_STEPS
from context import HYPER_STRIDE, LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE, PASSES, REACH, gaussian_bits, of_pass

LEVELS_PER_OCTAVE = 4
LEVELS = int((HIGHEST_LOG_SCALE - LOWEST_LOG_SCALE) * LEVELS_PER_OCTAVE) + 1
FINE = int((1 - LOWEST_LOG_SCALE) * LEVELS_PER_OCTAVE)  # levels of scales below 2, for which the fraction matters
FRACTIONS = 4  # of the distance between mean and rounded mean, 0 to 1/2
CONTEXTS = FINE * FRACTIONS + LEVELS - FINE
LARGEST = 2**15  # magnitude of a latent
STRIP = 16  # rows of latents that are coded together, so that memory does not grow with the height


def rate_number(quality):
    """Number of the rate, 0 to RATE_STEPS, for a quality of 1 to 10, which may be a fraction."""
    return round((quality - 1) / 9 * RATE_STEPS)


@torch.inference_mode()
def quantise(encoder, y, t):
    """Integers z (1, Z, ceil(h/4), ceil(w/4)) and b (1, K, h, w), float32, of components y (1, K, h, w) at rate t."""
    b = encoder.at_rate(y, torch.tensor([t], device=y.device))
    rows, columns = y.shape[2:]
    z = encoder.hyper_latent(torch.nn.functional.pad(b, (0, -columns % HYPER_STRIDE, 0, -rows % HYPER_STRIDE)))
    return [torch.floor(v + 0.5).clamp(-LARGEST, LARGEST).cpu() for v in (z, b)]


def choose(mean, log_scale):
    """What codes an integer: the context, the integer to start from and the sign of what is above it.

    mean, log_scale: float64, of any shape and settled; the three have that shape.
    """
    level = ((log_scale - LOWEST_LOG_SCALE) * LEVELS_PER_OCTAVE).round().long()
    base = mean.round()
    fraction = mean - base
    part = (fraction.abs() * 2 * FRACTIONS).long().clamp(max=FRACTIONS - 1)
    context = torch.where(level < FINE, level * FRACTIONS + part, level + FINE * (FRACTIONS - 1))
    return context, base, torch.where(fraction < 0, -1, 1)


@torch.inference_mode()
def walk(model, rows, columns, t, read):
    """Integers b, float64 (1, C, rows, columns), that `read` gives in coding order.

    model: a frozen ContextModel; t: the rate, a multiple of 1/64. read(place, window, context, base, sign)
    returns the integers at `window`, a pair of slices, of z (place None) or of the positions of pass `place`.
    """
    t = torch.tensor([t], dtype=torch.float64)
    hyper_rows, hyper_columns = -(-rows // HYPER_STRIDE), -(-columns // HYPER_STRIDE)
    shape = (1, len(model.z_mean[0]), hyper_rows, hyper_columns)
    z = read(None, (slice(hyper_rows), slice(hyper_columns)), *choose(*(p.expand(shape) for p in model.hyper_parameters(t))))
    features = model.features(z, t)

    height, width = features.shape[2:]
    padded = torch.zeros(1, len(model.spread[0]), height + 2 * REACH, width + 2 * REACH, dtype=torch.float64)
    b = padded[:, :, REACH:REACH + rows, REACH:REACH + columns]
    for index, (row, column) in enumerate(PASSES):
        for top in range(0, rows, STRIP):
            bottom = min(top + STRIP, height)
            parameters = model.parameters_of(index, features[:, :, top:bottom], padded[:, :, top:bottom + 2 * REACH], t)
            here = of_pass(b[:, :, top:bottom], index)
            parameters = (p[:, :, :here.shape[2], :here.shape[3]] for p in parameters)
            window = (slice(top // 2, top // 2 + here.shape[2]), slice(here.shape[3]))
            here.copy_(read(index, window, *choose(*parameters)))
    return b


def symbols(model, z, b, t):
    """Contexts and integers, both int32 (n,), that code z (1, Z, h, w) and b (1, C, rows, columns) at rate t."""
    contexts, values = [], []

    def read(place, window, context, base, sign):
        known = (z if place is None else of_pass(b, place))[:, :, window[0], window[1]].double()
        contexts.append(context.flatten().int())
        values.append((sign * (known - base)).flatten().int())
        return known
    walk(model, *b.shape[2:], t, read)
    return torch.cat(contexts).numpy(), torch.cat(values).numpy()


def encode(model, bank, z, b, t):
    """The payload of integers z (1, Z, h, w) and b (1, C, rows, columns) at rate t."""
    contexts, values = symbols(model, z, b, t)
    return entropy.encode_in_context(values, contexts, bank)


def decode(model, bank, payload, rows, columns, t):
    """Integers b, float64 (1, C, rows, columns), of a payload; raises entropy.PayloadError if it is damaged."""
    decoder = entropy.Decoder(payload, bank)

    def read(place, window, context, base, sign):
        values = torch.from_numpy(decoder.decode(context.flatten().numpy())).view(context.shape)
        values = base + sign * values
        if values.numel() and values.abs().max() > LARGEST:
            raise entropy.PayloadError("the payload is damaged")
        return values
    b = walk(model, rows, columns, t, read)
    decoder.close()
    return b


def fit_bank(contexts, values):
    """The entropy.Bank for integers `values` (n,) in contexts (n,): what was counted, and what is normal where little was."""
    weights = []
    for context in range(CONTEXTS):
        level = context // FRACTIONS if context < FINE * FRACTIONS else context - FINE * (FRACTIONS - 1)
        mean = (context % FRACTIONS + 0.5) / (2 * FRACTIONS) if level < FINE else 0.25
        log_scale = LOWEST_LOG_SCALE + level / LEVELS_PER_OCTAVE
        reach = int(5 * 2**log_scale) + 3
        around = torch.arange(-reach, reach + 1, dtype=torch.float64)
        normal = torch.exp2(-gaussian_bits(around, mean, torch.tensor(log_scale, dtype=torch.float64))).numpy()
        counted = values[(contexts == context) & (np.abs(values) <= reach)] + reach
        weights.append((-reach, 300 * normal + np.bincount(counted, minlength=2 * reach + 1)))
    return entropy.Bank.from_weights(weights)
