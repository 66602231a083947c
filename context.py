"""The entropy model of variable mode: where the probability of every latent comes from.

    z (N, Z, H/64, W/64), coded first -> features at stride 16
    pass 0, 1, 2, 3: a quarter of the latents each -> mean and log2 scale from the features and from
    the latents of the passes before it

The passes take the positions of each 2x2 square in turn (0, 0), (1, 1), (0, 1), (1, 0), a checkerboard
(He et al. 2021, "Checkerboard context model for efficient learned image compression") divided once
more. z is a hyperprior with means and scales (Minnen, Balle and Toderici 2018, "Joint autoregressive
and hierarchical priors for learned image compression"). All latents are integers in units of the
quantisation step, which depends on the rate t, so the model knows t too.
"""
import torch
from torch import nn
from torch.nn import functional as F

import exact

PASSES = ((0, 0), (1, 1), (0, 1), (1, 0))  # row and column in each 2x2 square of latents
REACH = 3           # of the neighbours that are looked at, and at most 4 in rows and columns together
HYPER_STRIDE = 4    # latents to a side of one position of z
LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE = -3.0, 7.0


def neighbours(index):
    """Offsets (row, column) of the positions around one of pass `index` that earlier passes hold."""
    row, column = PASSES[index]
    span = range(-REACH, REACH + 1)
    return [(dy, dx) for dy in span for dx in span if abs(dy) + abs(dx) <= 4
            and ((row + dy) % 2, (column + dx) % 2) in PASSES[:index]]


def of_pass(x, index):
    """The positions of one pass, (N, C, H/2, W/2), of x (N, C, H, W); a view."""
    row, column = PASSES[index]
    return x[:, :, row::2, column::2]


def pad(b):
    """Latents b (N, C, H, W) with zeros around them as far as `gather` looks."""
    return F.pad(b, (REACH,) * 4)


def gather(padded, index):
    """The neighbours, (N, C, T, H/2, W/2), of the positions of pass `index` in latents that `pad` gave."""
    height, width = (side - 2 * REACH for side in padded.shape[2:])
    row, column = PASSES[index]
    return torch.stack([padded[:, :, REACH + row + dy:, REACH + column + dx:][:, :, :height:2, :width:2]
                        for dy, dx in neighbours(index)], 2)


class ContextModel(nn.Module):
    """Mean and scale of z and of the latents b; in float32 for training, or after `exact.freeze`.

    t is the rate, (N,): 0 where the quantisation step is one unit of the latent, one more for each halving.
    """

    def __init__(self, channels, hyper_channels, width, hidden):
        super().__init__()
        self.z_mean = nn.Parameter(torch.zeros(3, hyper_channels))
        self.z_log_scale = nn.Parameter(torch.zeros(3, hyper_channels))
        self.spread = nn.Parameter(torch.zeros(3, channels))  # log2 of the deviation of b
        with torch.no_grad():
            self.spread[1] = 1
        self.hyper1 = nn.Conv2d(hyper_channels, width, 3, 1, 1)
        self.hyper2 = nn.Conv2d(width, 4 * width, 1)
        self.hyper3 = nn.Conv2d(width, width, 3, 1, 1)
        self.hyper4 = nn.Conv2d(width, 4 * width, 1)
        self.rate1 = nn.Parameter(torch.zeros(3, width))
        self.from_features = nn.ModuleList(nn.Conv2d(width, hidden, 1) for _ in PASSES)
        self.from_neighbours = nn.ModuleList(nn.Conv2d(2 * channels, hidden, 1, bias=False) for _ in PASSES[1:])
        counts = [len(neighbours(index)) for index in range(1, len(PASSES))]
        self.filters = nn.ParameterList(torch.randn(2, channels, count) * count**-0.5 for count in counts)
        self.prediction = nn.ParameterList(torch.zeros(channels, count) for count in counts)
        self.rate2 = nn.Parameter(torch.zeros(3, hidden))
        self.middle = nn.Conv2d(hidden, hidden, 1)
        self.last = nn.Conv2d(hidden, 2 * channels, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def hyper_parameters(self, t):
        """Mean and log2 scale of every z, each (N, Z, 1, 1)."""
        return exact.polynomial(self.z_mean, t), _bounded(exact.polynomial(self.z_log_scale, t))

    def features(self, z, t):
        """What z tells, (N, width, 4 h, 4 w), of integers z (N, Z, h, w)."""
        x = F.relu(exact.settle(self.hyper1(exact.signed_log(z)) + exact.polynomial(self.rate1, t)))
        x = F.relu(exact.settle(F.pixel_shuffle(self.hyper2(x), 2)))
        x = F.relu(exact.settle(self.hyper3(x)))
        return F.relu(exact.settle(F.pixel_shuffle(self.hyper4(x), 2)))

    def parameters_of(self, index, features, padded, t):
        """Mean and log2 scale, each (N, C, H/2, W/2), of the latents of one pass.

        features: (N, width, H, W); padded: integers within +-2^15, (N, C, H + 6, W + 6), the latents of which
        only earlier passes are read and what is around them.
        """
        x = self.from_features[index](of_pass(features, index))
        mean = 0
        if index:
            mean = torch.einsum("ncthw,ct->nchw", gather(padded, index), self.prediction[index - 1])
            filtered = torch.einsum("ncthw,fct->nfchw", gather(exact.signed_log(padded), index), self.filters[index - 1])
            x = x + self.from_neighbours[index - 1](exact.settle(filtered).flatten(1, 2))
        x = F.relu(exact.settle(x + exact.polynomial(self.rate2, t)))
        x = F.relu(exact.settle(self.middle(x)))
        shift, log_scale = exact.settle(self.last(x)).chunk(2, 1)
        spread = exact.polynomial(self.spread, t)
        mean = exact.settle(mean + shift * exact.power_of_two(spread))
        return mean, _bounded(exact.settle(log_scale + spread))

    def bits(self, z, noisy_z, b, noisy_b, t):
        """Bits of z (N,) and of the latents (N,): probabilities for integers z and b, at the noisy ones."""
        rate = gaussian_bits(noisy_z, *self.hyper_parameters(t)).sum((1, 2, 3))
        features, padded, rate_b = self.features(z, t), pad(b), 0
        for index in range(len(PASSES)):
            mean, log_scale = self.parameters_of(index, features, padded, t)
            rate_b = rate_b + gaussian_bits(of_pass(noisy_b, index), mean, log_scale).sum((1, 2, 3))
        return rate, rate_b


def _bounded(log_scale):
    return log_scale.clamp(LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE)


def gaussian_bits(x, mean, log_scale):
    """Code length in bits of x, of any shape, under a normal distribution integrated over one step."""
    distance = (x - mean).abs()
    inverse = torch.exp2(-log_scale) * 0.5**0.5
    # Symmetry lets both terms sit in the tail, where the difference keeps its digits.
    likelihood = 0.5 * (torch.erfc((distance - 0.5) * inverse) - torch.erfc((distance + 0.5) * inverse))
    return -torch.log2(likelihood.clamp_min(1e-9))
