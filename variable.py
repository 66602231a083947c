"""The latents of variable mode to bits and back: z first, then the latents step by step.

`context.ContextModel` gives a mean and a scale for every latent. What is coded is the rounded distance
from the mean; the scale chooses the adaptive model that codes it, one for each slice of channels and
quarter of an octave. Where the scale is so small that the distance is all but certain to round to zero,
nothing is coded. Everything that chooses is exact, see `exact.py`.
"""
import numpy as np
import torch

import entropy
import exact
import quantize
from bitstream import RATE_STEPS
from context import HIGHEST_LOG_SCALE, HYPER_STRIDE, Canvas, laplacian_bits
from quantize import LEAST_LOG_SCALE

# Part of the format, as are the steps of `context.py`: they decide what is coded with which model, and in which order.
LEVELS_PER_OCTAVE = 4
LEVELS = int((HIGHEST_LOG_SCALE - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE + 0.5)
STRIP = 4096  # positions, about, that are coded together
LARGEST = 2**15 - 1  # magnitude of a latent, and one more with its rounding


def rate_number(quality):
    """Number of the rate, 0 to RATE_STEPS, for a quality of 1 to 10, which may be a fraction."""
    return round((quality - 1) / 9 * RATE_STEPS)


def context_count(slices):
    """The number of adaptive models that code the latents of `slices` of channels, and z."""
    return (len(slices) + 1) * LEVELS


@torch.inference_mode()
def latents_at(encoder, y, t):
    """z (1, Z, ceil(h/4), ceil(w/4)) and latents b (1, K, h, w), real, in steps, of components y (1, K, h, w) at rate t."""
    b = encoder.at_rate(y, torch.tensor([t], device=y.device))
    rows, columns = y.shape[2:]
    z = encoder.hyper_latent(torch.nn.functional.pad(b, (0, -columns % HYPER_STRIDE, 0, -rows % HYPER_STRIDE)))
    return [v.clamp(-LARGEST, LARGEST).cpu() for v in (z, b)]


def choose(index, log_scale):
    """What is coded of a slice, or for slice -1 of z: numbers, int64 (n,), in settled log_scale (1, P, C) as one row,
    and for each of them the adaptive model, int16 (n,)."""
    level = ((log_scale.flatten() - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE - 0.5).round().int()
    where = level.ge(0).nonzero()[:, 0]
    return where, (level[where] + (index + 1) * LEVELS).short()


def scatter(where, values, mean):
    """A tensor like `mean`, (1, P, C), with values (n,) at the numbers `where` of `choose`, and zero where nothing is coded."""
    return torch.zeros(mean.numel(), dtype=mean.dtype).index_copy_(0, where, values).view(mean.shape)


@torch.inference_mode()
@torch.autocast("cpu", enabled=False)  # it would round to bfloat16
def walk(model, rows, columns, t, read):
    """The context.Canvas of rows x columns quantised latents, of the integers that `read` gives in coding order.

    model: a frozen ContextModel; t: the rate, a multiple of 1/64. read(slice, positions, mean, log_scale) returns
    the distances from the mean, (1, P, C), of the positions (P,) of a slice, or for slice -1 of z.
    """
    exact.suit(model)
    t = torch.tensor([t], dtype=torch.float64)
    hyper = -(-rows // HYPER_STRIDE), -(-columns // HYPER_STRIDE)
    mean, log_scale = (p.expand(-1, hyper[0] * hyper[1], -1) for p in model.hyper_parameters(t))
    z = mean + read(-1, torch.arange(hyper[0] * hyper[1]), mean, log_scale)
    features = model.features(z.transpose(1, 2).unflatten(2, hyper), t)[:, :, :rows, :columns]
    features = features.flatten(2).transpose(1, 2).float().contiguous()  # (1, rows * columns, width), still exact

    canvas, height = Canvas(1, rows, columns, model.slices), max(2, STRIP // columns // 2 * 2)  # even
    for number, step in enumerate(model.steps):
        for top in range(0, rows, height):
            positions = canvas.positions(step.places, top, top + height)
            mean, log_scale = model.parameters_of(number, features.index_select(1, positions), canvas, positions, t)
            distance = read(step.slice, positions, mean, log_scale)
            canvas.put(step.slice, positions, mean + distance)
    return canvas


def symbols(model, z, b, t):
    """Contexts int16 (n,) and integers int32 (n,) that code real z (1, Z, h, w) and latents b (1, C, rows, columns)
    at rate t, and the context.Canvas of the quantised latents that they stand for."""
    contexts, integers = [], []
    rows = [part.flatten(2).transpose(1, 2) for part in (*b.split(model.slices, 1), z)]  # (1, P, C) each, z the last

    def read(index, positions, mean, log_scale):
        distance = rows[index].index_select(1, positions) - mean
        distance = distance.round() if index < 0 else quantize.round_to_zero(distance, log_scale)
        where, context = choose(index, log_scale)
        values = distance.flatten()[where]
        contexts.append(context.numpy())
        integers.append(values.int().numpy())
        return scatter(where, values, mean)
    canvas = walk(model, *b.shape[2:], t, read)
    whole = np.concatenate(contexts)
    contexts.clear()  # of a large picture they are large
    return whole, np.concatenate(integers), canvas


def encode(model, bank, z, b, t):
    """The payload of real z (1, Z, h, w) and latents b (1, C, rows, columns), both within +-LARGEST, at rate t."""
    contexts, values = symbols(model, z, b, t)[:2]
    return entropy.encode_in_context(values, contexts, bank)


def decode(model, bank, payload, rows, columns, t, watch=None):
    """Quantised latents, float32 (1, C, rows, columns), of a payload; raises entropy.PayloadError if it is damaged.

    watch(slice, positions, mean, where, contexts, values), if given, sees what is read, as of `walk` and `choose`.
    """
    decoder = entropy.Decoder(payload, bank)

    def read(index, positions, mean, log_scale):
        where, context = choose(index, log_scale)
        values = torch.from_numpy(decoder.decode(context.numpy()))
        distance = scatter(where, values.double(), mean)
        if distance.numel() and (mean + distance).abs().max() > LARGEST + 1:
            raise entropy.PayloadError("the payload is damaged")
        if watch:
            watch(index, positions, mean, where, context, values)
        return distance
    canvas = walk(model, rows, columns, t, read)
    decoder.close()
    return canvas.latents()


def fit_bank(slices, contexts, values):
    """The entropy.Bank for integers `values` (n,) in contexts (n,): what was counted, and Laplacian where little was."""
    weights = []
    for context in range(context_count(slices)):
        log_scale = LEAST_LOG_SCALE + (context % LEVELS + 0.5) / LEVELS_PER_OCTAVE
        reach = int(7 * 2**log_scale) + 3
        around = torch.arange(-reach, reach + 1, dtype=torch.float64)
        ideal = torch.exp2(-laplacian_bits(around, torch.tensor(log_scale, dtype=torch.float64))).numpy()
        counted = values[(contexts == context) & (np.abs(values) <= reach)] + reach
        weights.append((-reach, 300 * ideal + np.bincount(counted, minlength=2 * reach + 1)))
    return entropy.Bank.from_weights(weights)
