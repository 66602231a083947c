"""The network of the entropy model: where the probability of every latent comes from.

    z (N, Z, H/64, W/64), coded first -> features at stride 16
    then latents y (N, K, H/16, W/16), group by group in the order of `coding/order.py`:
    features, latents around that are known -> mean and log2 scale of a Laplace distribution

z, the hyper-latents, is a hyperprior with means and scales (Minnen, Balle and Toderici 2018, "Joint
autoregressive and hierarchical priors for learned image compression"). Latents are in units of the
quantization step, which depends on the rate t, so the model knows t too. Whether latents are integers
or at whole distances from their mean makes no difference here, see `coding/latents.py`; whether all of them
are coded does, see `dealing.py`. Positions lie in rows, (N, P, C), and channels in columns.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import coding.entropy_model
import quantize
from coding import order
from coding.config import ModelConfig
from coding.entropy_model import HIGHEST_LOG_SCALE, LOWEST_LOG_SCALE
from coding.modes import HIGHEST_RATE, TUNES
from networks import relaxed, walk
from networks.dealing import Dealer


class EntropyModel(nn.Module):
    """Mean and log2 scale of z and of the latents; for training and search, see `coding/entropy_model.py`.

    t is the rate, (N,): 0 where the quantization step is one unit of the latents, one more for each halving.
    """

    def __init__(
        self,
        slices: Sequence[int],
        hyper_channels: int,
        width: int,
        hidden: int,
        wanted: np.ndarray | None = None,
        tunes: Sequence[str] = TUNES[:1],
    ):
        """slices: channels of each; hyper_channels: of z; width: of the features; hidden: of what follows.

        wanted: integers that a latent of each level of scale asks for, or None where all latents are coded.
        tunes: of modes.TUNES, the first of which has no quantization steps to learn.
        """
        super().__init__()
        wanted = None if wanted is None else torch.from_numpy(wanted)
        self.register_buffer("wanted", wanted, persistent=False)
        self.slices, channels = slices, sum(slices)
        self.z_mean = nn.Parameter(torch.zeros(3, hyper_channels))
        self.z_log_scale = nn.Parameter(torch.zeros(3, hyper_channels))
        self.spread = nn.Parameter(torch.zeros(3, channels))  # log2 of the deviation of the latents
        with torch.no_grad():
            self.spread[1] = 1
        self.log_step = _Tables(tunes[1:], channels)  # learned apart from all else, see training/steps.py
        self.hyper1 = nn.Conv2d(hyper_channels, width, 3, 1, 1)
        self.hyper2 = nn.Conv2d(width, 4 * width, 1)
        self.hyper3 = nn.Conv2d(width, width, 3, 1, 1)
        self.hyper4 = nn.Conv2d(width, 4 * width, 1)
        self.rate1 = nn.Parameter(torch.zeros(3, width))

        self.steps = order.coding_steps(len(slices))
        known = [sum(slices[index] * len(offsets) for index, offsets in step.sources) for step in self.steps]
        self.from_features = nn.ModuleList(nn.Linear(width, hidden) for _ in self.steps)
        self.from_known = nn.ModuleList(nn.Linear(count, hidden, bias=False) for count in known[1:])
        self.rate2 = nn.ParameterList(torch.zeros(3, hidden) for _ in self.steps)
        self.residual1 = nn.ModuleList(nn.Linear(hidden, hidden) for _ in slices)
        self.residual2 = nn.ModuleList(nn.Linear(hidden, hidden) for _ in slices)
        self.last = nn.ModuleList(nn.Linear(hidden, 2 * count) for count in slices)
        # The coarsest components of neighbours, brightness above all, are alike in themselves; in float64
        # when frozen.
        later_passes = [count for step, count in zip(self.steps, known) if step.slice == 0][1:]
        self.prediction = nn.ModuleList(nn.Linear(count, slices[0], bias=False) for count in later_passes)
        for layer in (*self.last, *self.prediction):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def log_steps(self, tune: str, t: torch.Tensor) -> torch.Tensor:
        """log2 of the quantization step of each component, (N, K), of a tune, in quarters."""
        if tune == TUNES[0]:
            return t.new_zeros(len(t), sum(self.slices))
        of_table = _polynomial(self.log_step.get_buffer(tune), t)[:, :, 0, 0]
        finer = (t - HIGHEST_RATE).clamp_min(0)[:, None]
        return coding.entropy_model.in_quarters(of_table, finer)

    @staticmethod
    def in_steps(log_scale: torch.Tensor, log_step: torch.Tensor) -> torch.Tensor:
        """log2 scales (N, P, C) in quantization steps, of log2 of these (N, 1, C)."""
        return _bounded(log_scale - log_step)

    def hyper_parameters(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log2 scale of z, the same at every position, each (N, 1, Z)."""
        return _row(self.z_mean, t), _bounded(_row(self.z_log_scale, t))

    def features(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What z tells, (N, width, 4 h, 4 w), of quantized z (N, Z, h, w)."""
        x = relaxed.activate(self.hyper1(relaxed.signed_log(z)) + _polynomial(self.rate1, t))
        x = relaxed.activate(F.pixel_shuffle(self.hyper2(x), 2))
        x = relaxed.activate(self.hyper3(x))
        return relaxed.activate(F.pixel_shuffle(self.hyper4(x), 2))

    def parameters_of(
        self,
        step: order.Step,
        features: torch.Tensor,
        canvas: walk.Canvas,
        positions: torch.Tensor,
        t: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log2 scale, each (N, P, C), of what a step codes at positions (P,).

        features: those of the positions, (N, P, width).
        canvas: the latents that are known; only what earlier steps coded is read.
        """
        x, mean = self.from_features[step.number](features) + _row(self.rate2[step.number], t), 0
        if step.sources:
            x = x + self.from_known[step.number - 1](canvas.logs_around(step.sources, positions))
            if step.slice == 0:
                mean = self.prediction[step.number - 1](
                    canvas.values_around(step.sources, positions).to(x.dtype)
                )
        x = relaxed.activate(x)
        x = relaxed.activate(x + self.residual2[step.slice](relaxed.activate(self.residual1[step.slice](x))))
        shift, log_scale = self.last[step.slice](x).chunk(2, 2)
        spread = _row(self.spread.split(self.slices, 1)[step.slice], t)
        mean = relaxed.settle(mean + shift * torch.exp2(spread))
        return mean, relaxed.settle(_bounded(log_scale + spread))

    def quantize(
        self,
        y: torch.Tensor,
        z: torch.Tensor,
        t: torch.Tensor,
        rounding: Callable,
        noise: bool = False,
        tune: str = TUNES[0],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Bits of z (N,), bits of the latents (N,), and the quantized latents (N, K, h, w).

        y: (N, K, h, w), z: (N, Z, ceil(h/4), ceil(w/4)), real, in quantization steps at rates t (N,).
        rounding: one of the policies of `quantize.py`, for the latents.
        noise: whether the bits are those of distances with noise, as in training, or of what is rounded.
        tune: of modes.TUNES, whose quantization steps are taken.
        Latents that get no integers are their mean. In training they have bits all the same, so that the
        model knows the scale of each, but no gradient for y.
        """
        measured = quantize.with_noise if noise else quantize.as_rounded
        mean, log_scale = self.hyper_parameters(t)  # (N, 1, Z)
        distance = walk.to_rows(z) - mean
        rounded = quantize.straight_through(distance.round(), distance)
        bits_z = laplacian_bits(measured(distance, rounded), log_scale).sum((1, 2))

        groups = walk.Walk(self, walk.from_rows(mean + rounded, z.shape[2:]), y.shape[2:], t, tune)
        dealer = None if self.wanted is None else Dealer(self.wanted, self.steps, y[0, 0].numel())
        slices, coded = [walk.to_rows(part) for part in y.split(self.slices, 1)], []
        for group in groups:
            real, log_scale = group.of(slices), group.log_scale
            if dealer:
                gets = dealer.deal(group)
                real = torch.where(gets, real, real.detach())
            distance = group.distance(real)
            counted = rounded = rounding(distance, group.mean, log_scale)
            if dealer:
                rounded = torch.where(gets, rounded, 0)
                if not self.training:
                    counted, log_scale = rounded, torch.where(gets, log_scale, LOWEST_LOG_SCALE)
            coded.append((distance, counted, log_scale))
            groups.put(group, group.latents(rounded))
        # All groups at once: many small operations would take most of a step of training.
        distance, rounded, log_scale = (torch.cat([x.flatten(1) for x in part], 1) for part in zip(*coded))
        bits_y = laplacian_bits(measured(distance, rounded), log_scale).sum(1)
        return bits_z, bits_y, groups.latents()


class _Tables(nn.Module):
    """A table of quantization steps, (3, K), for each tune: coefficients of polynomials of the rate."""

    def __init__(self, tunes, channels):
        super().__init__()
        for tune in tunes:
            self.register_buffer(tune, torch.zeros(3, channels))


def _polynomial(coefficients, t):
    """`relaxed.polynomial` at rates that the networks know."""
    return relaxed.polynomial(coefficients, t.clamp_max(HIGHEST_RATE))


def _row(coefficients, t):
    """`_polynomial` for positions in rows, (N, 1, C)."""
    return _polynomial(coefficients, t)[:, None, :, 0, 0]


def _bounded(log_scale):
    return F.hardtanh(log_scale, LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE)


def laplacian_bits(distance: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Code length in bits of a distance from the mean, of any shape, under a Laplace distribution of
    deviation 2^log_scale that is integrated over one quantization step."""
    rate = 2**0.5 * torch.exp2(-log_scale)
    distance = distance.abs()
    # Each branch in the form that keeps its digits, and the far one its gradient.
    near = -torch.log2(
        (1 - torch.exp(-0.5 * rate) * torch.cosh((rate * distance).minimum(0.5 * rate))).clamp_min(1e-9)
    )
    far = 1 + (rate * (distance - 0.5) - torch.log(-torch.expm1(-rate))) / math.log(2)
    return torch.where(distance < 0.5, near, far)


def untrained(config: ModelConfig) -> EntropyModel:
    """The network of a configuration, with random weights."""
    return EntropyModel(config.slices, *config.entropy_widths, config.kind.wanted, config.mode.tunes)


def network_of(frozen: coding.entropy_model.EntropyModel, config: ModelConfig) -> EntropyModel:
    """The network, in evaluation, with the weights, float32, of a configuration's frozen entropy model."""
    network = EntropyModel(config.slices, *config.entropy_widths, config.kind.wanted, frozen.tunes).eval()
    network.load_state_dict(
        {name: torch.from_numpy(weight.astype(np.float32)) for name, weight in frozen.weights.items()}
    )
    return network
