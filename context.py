"""The entropy model: where the probability of every latent comes from.

    z (N, Z, H/64, W/64), coded first -> features at stride 16
    then slices of channels, coarse components first, each in one to four passes over the positions
    of a slice in a pass: features, latents around that are known -> mean and log2 scale

Slices are those of a channel-conditional model (Minnen and Singh 2020, "Channel-wise autoregressive
entropy models for learned image compression"), of unequal size (He et al. 2022, "ELIC"). The first,
which holds most of the bits, takes the positions of each 2x2 square in turn (0, 0), (1, 1), (0, 1),
(1, 0), a checkerboard (He et al. 2021, "Checkerboard context model for efficient learned image
compression") divided once more; later slices know all positions of the earlier ones and need fewer
passes. z is a hyperprior with means and scales (Minnen, Balle and Toderici 2018, "Joint
autoregressive and hierarchical priors for learned image compression").

In variable mode what is quantised is the distance of a latent from its mean, so that a known latent
is mean plus integer. Latents are in units of the quantisation step, which depends on the rate t, so
the model knows t too. In hard and soft mode latents are integers themselves, "on the grid", and t is
0. Positions lie in rows, (N, P, C), and channels in columns.
"""
import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

import exact
import quantize

HYPER_STRIDE = 4  # latents to a side of one position of z
LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE = -5.0, 7.0
REACH = 3         # rows and columns around a position that are looked at
# The positions in a 2x2 square that each pass takes, for slices in their order; further slices are as the last.
QUARTERS = (((0, 0),), ((1, 1),), ((0, 1),), ((1, 0),))
HALVES = (((0, 0), (1, 1)), ((0, 1), (1, 0)))
WHOLE = (((0, 0), (0, 1), (1, 0), (1, 1)),)
PASSES = (QUARTERS, HALVES, HALVES, WHOLE)
BOX = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of coding: a pass over the positions `places` of each 2x2 square, of the channels of one slice.

    sources: (slice, offsets) of known latents, offsets (row, column) from the position to be coded.
    """
    slice: int
    places: tuple
    sources: tuple


def _disc(reach):
    span = range(-REACH, REACH + 1)
    return [(dy, dx) for dy in span for dx in span if abs(dy) + abs(dx) <= reach]


def steps(count):
    """The list of Step that codes `count` slices of channels, in order."""
    result = []
    for index in range(count):
        passes = PASSES[min(index, len(PASSES) - 1)]
        for number, places in enumerate(passes):
            known = [place for earlier in passes[:number] for place in earlier]
            own = [(dy, dx) for dy, dx in _disc((4, 3, 1)[min(index, 2)])
                   if all(((row + dy) % 2, (column + dx) % 2) in known for row, column in places)]
            sources = [(index, tuple(own))] if own else []
            if index:
                sources.append((index - 1, BOX if index <= 2 else tuple(_disc(1))))
                sources += [(earlier, ((0, 0),)) for earlier in range(index - 1)]
            result.append(Step(index, places, tuple(sources)))
    return result


class Canvas:
    """The latents that are known so far, of `rows` x `columns` positions and slices of channels; zero where none is.

    In float32, which holds what a frozen model gives, multiples of 2^-8 within +-2^15, without rounding.
    """

    def __init__(self, batch, rows, columns, slices, device="cpu"):
        self.rows, self.columns = rows, columns
        self._stride = columns + 2 * REACH
        shape = lambda channels: (batch, (rows + 2 * REACH) * self._stride, channels)
        self._values = [torch.zeros(shape(channels), device=device) for channels in slices]
        self._logs = [torch.zeros(shape(channels), device=device) for channels in slices]

    def positions(self, places, top=0, bottom=None):
        """Numbers, int64 (P,), of the positions `places` of each 2x2 square in the rows from an even `top` to `bottom`."""
        grid = torch.arange(self.rows * self.columns, device=self._values[0].device).view(self.rows, self.columns)[top:bottom]
        return torch.cat([grid[row::2, column::2].flatten() for row, column in places])

    def _padded(self, positions):
        return (positions // self.columns + REACH) * self._stride + positions % self.columns + REACH

    def put(self, index, positions, values):
        """Keep latents (N, P, C) of a slice; autograd follows them where it is on."""
        padded = self._padded(positions)
        logs = exact.signed_log(values).float()
        if torch.is_grad_enabled():
            self._values[index] = self._values[index].index_copy(1, padded, values)
            self._logs[index] = self._logs[index].index_copy(1, padded, logs)
        else:
            self._values[index].index_copy_(1, padded, values.float())
            self._logs[index].index_copy_(1, padded, logs)

    def _gather(self, planes, sources, positions):
        padded = self._padded(positions)
        return torch.cat([planes[index].index_select(1, padded + (dy * self._stride + dx))
                          for index, offsets in sources for dy, dx in offsets], 2)

    def values_around(self, sources, positions):
        """Latents (N, P, K) around positions (P,), of `sources` as of a Step."""
        return self._gather(self._values, sources, positions)

    def logs_around(self, sources, positions):
        """`exact.signed_log` of `values_around`."""
        return self._gather(self._logs, sources, positions)

    def latents(self):
        """All latents, float32 (N, C, rows, columns)."""
        inner = slice(REACH, -REACH)
        planes = [v.view(len(v), self.rows + 2 * REACH, self._stride, -1)[:, inner, inner] for v in self._values]
        return torch.cat(planes, 3).permute(0, 3, 1, 2)


class ContextModel(nn.Module):
    """Mean and scale of z and of the latents; in float32 for training, or after `exact.freeze`.

    slices: channels of each; on_grid: whether latents are rounded to integers, and not their distances from the mean.
    t is the rate, (N,): 0 where the quantisation step is one unit of the latent, one more for each halving.
    """

    def __init__(self, slices, hyper_channels, width, hidden, on_grid=False):
        super().__init__()
        self.slices, self.on_grid, channels = slices, on_grid, sum(slices)
        self.z_mean = nn.Parameter(torch.zeros(3, hyper_channels))
        self.z_log_scale = nn.Parameter(torch.zeros(3, hyper_channels))
        self.spread = nn.Parameter(torch.zeros(3, channels))  # log2 of the deviation of the latents
        with torch.no_grad():
            self.spread[1] = 1
        self.hyper1 = nn.Conv2d(hyper_channels, width, 3, 1, 1)
        self.hyper2 = nn.Conv2d(width, 4 * width, 1)
        self.hyper3 = nn.Conv2d(width, width, 3, 1, 1)
        self.hyper4 = nn.Conv2d(width, 4 * width, 1)
        self.rate1 = nn.Parameter(torch.zeros(3, width))

        self.steps = steps(len(slices))
        known = [sum(slices[index] * len(offsets) for index, offsets in step.sources) for step in self.steps]
        self.from_features = nn.ModuleList(exact.Linear(width, hidden) for _ in self.steps)
        self.from_known = nn.ModuleList(exact.Linear(count, hidden, bias=False) for count in known[1:])
        self.rate2 = nn.ParameterList(torch.zeros(3, hidden) for _ in self.steps)
        self.middle = nn.ModuleList(exact.Linear(hidden, hidden) for _ in slices)
        self.last = nn.ModuleList(exact.Linear(hidden, 2 * count) for count in slices)
        # The coarsest components of neighbours, brightness above all, are alike in themselves; in float64 when frozen.
        passes = [count for step, count in zip(self.steps, known) if step.slice == 0][1:]
        self.prediction = nn.ModuleList(nn.Linear(count, slices[0], bias=False) for count in passes)
        for layer in (*self.last, *self.prediction):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def hyper_parameters(self, t):
        """Mean and log2 scale of every z, each (N, 1, Z)."""
        return _row(self.z_mean, t), _bounded(_row(self.z_log_scale, t))

    def features(self, z, t):
        """What z tells, (N, width, 4 h, 4 w), of latents z (N, Z, h, w)."""
        x = exact.activate(self.hyper1(exact.signed_log(z)) + exact.polynomial(self.rate1, t))
        x = exact.activate(F.pixel_shuffle(self.hyper2(x), 2))
        x = exact.activate(self.hyper3(x))
        return exact.activate(F.pixel_shuffle(self.hyper4(x), 2))

    def parameters_of(self, number, features, canvas, positions, t):
        """Mean and log2 scale, each (N, P, C), of what step `number` codes at positions (P,).

        features: those of the positions, (N, P, width); canvas: a Canvas, of which only earlier steps are read.
        """
        step = self.steps[number]
        x, mean = self.from_features[number](features) + _row(self.rate2[number], t), 0
        if step.sources:
            x = x + self.from_known[number - 1](canvas.logs_around(step.sources, positions))
            if step.slice == 0:
                mean = self.prediction[number - 1](canvas.values_around(step.sources, positions).to(x.dtype))
        x = self.last[step.slice](exact.activate(self.middle[step.slice](exact.activate(x))))
        shift, log_scale = x.chunk(2, 2)
        spread = _row(self.spread.split(self.slices, 1)[step.slice], t)
        mean = exact.settle(mean + shift * exact.power_of_two(spread))
        return mean, exact.settle(_bounded(log_scale + spread))

    def rounded(self, distance, mean, log_scale):
        """The distances from the mean of what latents are quantised to, given theirs, all (N, P, C), as are the mean
        and the log2 scale."""
        return (distance + mean).round() - mean if self.on_grid else quantize.round_to_zero(distance, log_scale)

    def quantise(self, z, b, t, rounding, noise=False):
        """Bits of z (N,), bits of the latents (N,), and the quantised latents (N, C, H, W).

        z: (N, Z, ceil(H/4), ceil(W/4)), b: (N, C, H, W), real; rounding: as `rounded`. With noise, as in training, the
        bits are those of distances with noise.
        """
        count = lambda distance, rounded: quantize.add_noise(distance, B=0) if noise else rounded
        mean, log_scale = (p.transpose(1, 2)[..., None] for p in self.hyper_parameters(t))  # (N, Z, 1, 1)
        distance = z - mean
        rounded = quantize.straight_through(distance.round(), distance)
        rate_z = laplacian_bits(count(distance, rounded), log_scale).sum((1, 2, 3))
        features = self.features(mean + rounded, t)[:, :, :b.shape[2], :b.shape[3]]
        features = features.flatten(2).transpose(1, 2)  # (N, H * W, width)

        canvas, rate_b = Canvas(len(b), *b.shape[2:], self.slices, b.device), 0
        rows = [part.flatten(2).transpose(1, 2) for part in b.split(self.slices, 1)]  # (N, H * W, C) each
        for number, step in enumerate(self.steps):
            positions = canvas.positions(step.places)
            mean, log_scale = self.parameters_of(number, features.index_select(1, positions), canvas, positions, t)
            distance = rows[step.slice].index_select(1, positions) - mean
            rounded = rounding(distance, mean, log_scale)
            rate_b = rate_b + laplacian_bits(count(distance, rounded), log_scale).sum((1, 2))
            canvas.put(step.slice, positions, mean + rounded)
        return rate_z, rate_b, canvas.latents()


def _row(coefficients, t):
    """`exact.polynomial` for positions in rows, (N, 1, C)."""
    return exact.polynomial(coefficients, t)[:, None, :, 0, 0]


def _bounded(log_scale):
    return log_scale.clamp(LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE)


def laplacian_bits(distance, log_scale):
    """Code length in bits of a distance from the mean, of any shape, under a Laplace distribution of deviation
    2^log_scale that is integrated over one quantisation step."""
    rate = 2**0.5 * torch.exp2(-log_scale)
    distance = distance.abs()
    # Each branch in the form that keeps its digits, and the far one its gradient.
    near = -torch.log2((1 - torch.exp(-0.5 * rate) * torch.cosh((rate * distance).minimum(0.5 * rate))).clamp_min(1e-9))
    far = 1 + (rate * (distance - 0.5) - torch.log(-torch.expm1(-rate))) / math.log(2)
    return torch.where(distance < 0.5, near, far)
