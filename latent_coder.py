"""Latents to bits and back: z first, then the latents step by step.

`context.ContextModel` gives a mean and a scale for every latent. The scale chooses the adaptive model that
codes it, one for each slice of channels and quarter of an octave. Everything that chooses is exact, see
`exact.py`. What is coded is

- in variable mode the rounded distance from the mean; nothing where the scale is so small that it is all but
  certain to be zero;
- in hard and soft mode, where latents are on the grid of integers, the difference from the integer nearest
  the mean. The mean's distance from that integer has a part in the choice, and the difference is counted in
  its direction, so that one model serves both sides.
"""
import numpy as np
import torch

import entropy
import exact
from bitstream import RATE_STEPS
from context import HIGHEST_LOG_SCALE, HYPER_STRIDE, Canvas, laplacian_bits
from quantize import LEAST_LOG_SCALE

# Part of the format, as are the steps of `context.py`: they decide what is coded with which model, and in which order.
LEVELS_PER_OCTAVE = 4
LEVELS = int((HIGHEST_LOG_SCALE - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE + 0.5)
FRACTIONS = 4      # of the half step between the nearest integer and the mean that choose a model on the grid
FINE_LEVELS = 20   # in which they do: beyond a deviation of 2.6 steps they hardly matter
GRID_LEVELS = FINE_LEVELS * FRACTIONS + LEVELS - FINE_LEVELS
STRIP = 4096  # positions, about, that are coded together
LARGEST = 2**15 - 1  # magnitude of a latent, and one more with its rounding


def rate_number(quality):
    """Number of the rate, 0 to RATE_STEPS, for a quality of 1 to 10, which may be a fraction."""
    return round((quality - 1) / 9 * RATE_STEPS)


def context_count(config):
    """The number of adaptive models that code z and the latents of a model.ContextConfig."""
    return LEVELS + len(config.slices) * (GRID_LEVELS if config.on_grid else LEVELS)


@torch.inference_mode()
def latents_at(encoder, y, t):
    """z (1, Z, ceil(h/4), ceil(w/4)) and latents b (1, K, h, w), real, in steps, of components y (1, K, h, w) at rate t."""
    b = encoder.at_rate(y, torch.tensor([t], device=y.device))
    rows, columns = y.shape[2:]
    z = encoder.hyper_latent(torch.nn.functional.pad(b, (0, -columns % HYPER_STRIDE, 0, -rows % HYPER_STRIDE)))
    return [v.clamp(-LARGEST, LARGEST).cpu() for v in (z, b)]


class Choice:
    """What is coded of a slice, or for slice -1 of z, at some positions, of settled mean and log_scale, both (1, P, C).

    contexts: the adaptive models, int16 (n,); on the grid everything is coded.
    """

    def __init__(self, model, index, mean, log_scale):
        self._on_grid, self._shape = model.on_grid and index >= 0, mean.shape
        level = ((log_scale.flatten() - LEAST_LOG_SCALE) * LEVELS_PER_OCTAVE - 0.5).round().int()
        if self._on_grid:
            self._above = (mean - mean.round()).flatten()  # of the mean, above the nearest integer
            self._side = torch.where(self._above < 0, -1.0, 1.0).to(mean.dtype)
            level = level.clamp_min(0)
            fraction = (self._above.abs() * (2 * FRACTIONS)).int().clamp(0, FRACTIONS - 1)
            level = torch.where(level < FINE_LEVELS, level * FRACTIONS + fraction, level + FINE_LEVELS * (FRACTIONS - 1))
            self.contexts = (level + LEVELS + index * GRID_LEVELS).short()
        else:
            self._where = level.ge(0).nonzero()[:, 0]  # numbers in (1, P, C) as one row
            self.contexts = (level[self._where] + (index + 1) * LEVELS).short()

    def integers(self, distance):
        """What codes distances (1, P, C) from the mean, (n,)."""
        distance = distance.flatten()
        return self._side * (distance + self._above) if self._on_grid else distance[self._where]

    def distance(self, integers):
        """The distances (1, P, C) that integers, float64 (n,), code."""
        return (self._side * integers - self._above).view(self._shape) if self._on_grid else self.scatter(integers)

    def scatter(self, values):
        """Values (n,) of what is coded, and zero of the rest, as (1, P, C)."""
        if not self._on_grid:
            values = torch.zeros(self._shape.numel(), dtype=values.dtype).index_copy_(0, self._where, values)
        return values.view(self._shape)


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
        distance = distance.round() if index < 0 else model.rounded(distance, mean, log_scale)
        choice = Choice(model, index, mean, log_scale)
        values = choice.integers(distance)
        contexts.append(choice.contexts.numpy())
        integers.append(values.int().numpy())
        return choice.distance(values)
    canvas = walk(model, *b.shape[2:], t, read)
    whole = np.concatenate(contexts)
    contexts.clear()  # of a large picture they are large
    return whole, np.concatenate(integers), canvas


def encode(model, bank, z, b, t):
    """The payload of real z (1, Z, h, w) and latents b (1, C, rows, columns), both within +-LARGEST, at rate t."""
    contexts, values = symbols(model, z, b, t)[:2]
    return entropy.encode_in_context(values, contexts, bank)


def decode(model, bank, payload, rows, columns, t, limits, watch=None):
    """Quantised latents, float32 (1, C, rows, columns), of a payload; raises entropy.PayloadError if it is damaged.

    limits: the largest magnitudes (C,) that latents can have.
    watch(slice, positions, choice, values), if given, sees the integers (n,) that are read with each Choice.
    """
    decoder = entropy.Decoder(payload, bank)

    def read(index, positions, mean, log_scale):
        choice = Choice(model, index, mean, log_scale)
        values = torch.from_numpy(decoder.decode(choice.contexts.numpy()))
        distance = choice.distance(values.double())
        most = limits.split(model.slices)[index] if index >= 0 else LARGEST + 1
        if not ((mean + distance).abs() <= most).all():
            raise entropy.PayloadError("the payload is damaged")
        if watch:
            watch(index, positions, choice, values)
        return distance
    canvas = walk(model, rows, columns, t, read)
    decoder.close()
    return canvas.latents()


def fit_bank(config, contexts, values):
    """The entropy.Bank of a model.ContextConfig for integers `values` (n,) in contexts (n,): what was counted, and
    Laplacian where little was."""
    weights = []
    for context in range(context_count(config)):
        level, above = _level_of(context, config.on_grid)
        log_scale = LEAST_LOG_SCALE + (level + 0.5) / LEVELS_PER_OCTAVE
        reach = min(int(7 * 2**log_scale) + 3, 2 * config.limits.max().item())
        around = torch.arange(-reach, reach + 1, dtype=torch.float64) - above
        ideal = torch.exp2(-laplacian_bits(around, torch.tensor(log_scale, dtype=torch.float64))).numpy()
        counted = values[(contexts == context) & (np.abs(values) <= reach)] + reach
        weights.append((-reach, 300 * ideal + np.bincount(counted, minlength=2 * reach + 1)))
    return entropy.Bank.from_weights(weights)


def _level_of(context, on_grid):
    """Level of the scale of a context, and about how far the mean is above the nearest integer, as of a Choice."""
    if context < LEVELS or not on_grid:
        return context % LEVELS, 0
    level = (context - LEVELS) % GRID_LEVELS
    if level < FINE_LEVELS * FRACTIONS:
        return level // FRACTIONS, (level % FRACTIONS + 0.5) / (2 * FRACTIONS)
    return level - FINE_LEVELS * (FRACTIONS - 1), 0.25
