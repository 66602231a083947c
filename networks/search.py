"""Encode-time refinement: a search for the symbols of one picture, through its synthesis transform.

The analysis transform was trained to be good on average, and rounds each latent by itself. Here the symbols
of one picture, which are what the latents are rounded to, are moved from where they would be coded until
lambda * 255^2 * error + bits is lower for that picture (Yang, Bamler and Mandt 2020, "Improving inference
for neural image compression"). The error is that of the encoder's tune. The file is one like any other.

Errors of latents are not orthogonal in the picture, so that finding the best symbols is decoding a lattice
with a rate added. As there, they are fixed one after the other, and those that are still real make up for
what that changes (Babai 1986, "On Lovasz' lattice reduction and the nearest lattice point problem"):
- Between whole numbers the code length goes in straight lines, which makes it convex, and the loss falls by
  proximal gradient steps with momentum (Beck and Teboulle 2009, "A fast iterative shrinkage-thresholding
  algorithm for linear inverse problems"). The corners of the code length hold most latents at zero.
- Symbols that come near to a whole number are fixed there, and what counts as near grows to a half. Those
  that the code length holds at one stay free until the end.
"""

import dataclasses
import math

import numpy as np
import torch
from tqdm import tqdm

import quantize
from coding import tiles
from coding.latents import LARGEST, Latents
from networks import errors, walk
from networks.dealing import Dealer
from networks.entropy_model import laplacian_bits, network_of
from networks.precision import has_bfloat16

TILE = 48  # latents a side, a multiple of 4: gradients need more memory than coding does
STEP, MOMENTUM = 0.08, 0.7  # the step as a share of one over the curvature of a single symbol
FREE_SHARE = 0.1  # of the iterations, before symbols are fixed
# Random directions that the curvature is measured in, all symbols at once, and how far: as far as rounding
# moves them, for the error of the tune for the eye is sharper nearby.
PROBES, PROBE_SIZE = 3, 0.25
LEAST_CURVATURE = 10.0  # in bits for a symbol squared; most have 15 to 30 at any rate
TOLERANCE = 1.05  # by what factor the loss may rise in an iteration, as it does when symbols are fixed


def refine(
    latents: Latents,
    rows: slice,
    cost: "Cost",
    iterations: int,
    bar: tqdm,
    side: int = TILE,
) -> Latents:
    """Real latents of some rows that cost less once they are quantized; z stays as it is.

    What costs less is the code length under the entropy model's own distributions, with the distortion; the
    adaptive models take a little less than that.
    latents: of the rows, and of a margin that stays; cost: of these.
    iterations: of each tile; the curvature takes PROBES + 1 gradients more.
    bar: is moved with each iteration; side: of a tile in latents, a multiple of 4.
    """
    y = latents.y.copy()
    for part in tiles.split(rows, y.shape[:2], tiles.SYNTHESIS_HALO, side):
        window = _Window(cost, part, torch.from_numpy(tiles.to_input(y[part.window])))
        best = window.latents_of(_descend(window, iterations, bar))
        y[rows][part.tile] = tiles.from_output(best.cpu().numpy())
    hyper_rows, _ = tiles.in_hyper((rows, slice(0, 0)))
    return Latents(y[rows], latents.z[hyper_rows])


def _descend(window, iterations, bar):
    """The best symbols (S,) that are found for a _Window; bar: is moved with each of the iterations."""
    symbols = accepted = window.start
    free, velocity, step = window.inner, torch.zeros_like(symbols), STEP / _curvature(window)
    last, unfixed = math.inf, round(FREE_SHARE * iterations)
    for iteration in range(iterations):
        ahead = symbols + MOMENTUM * velocity
        relaxed = window.relaxed(ahead)
        bar.update()
        if not relaxed.loss <= TOLERANCE * last:
            step, velocity, last = step / 2, torch.zeros_like(step), math.inf
            symbols = torch.where(free, accepted, symbols)
            continue
        last, accepted = relaxed.loss, ahead
        moved = torch.where(free, relaxed.proximal(ahead, step), symbols)
        nearest, near = moved.round(), 0.5 * (iteration + 1 - unfixed) / (iterations - unfixed)
        distance = (moved - nearest).abs()
        # What the code length holds at a whole number may still leave it.
        free = free & ((distance > near) | (distance == 0))
        velocity = (moved - symbols) * free
        symbols = torch.where(free, moved, nearest)
    return min(window.start, symbols.round(), key=window.loss)


def _curvature(window):
    """The second derivative by each symbol (S,) of the loss but for its own code length, in bits for a symbol
    squared.

    That of a channel in a step of coding is a mean over the positions (Hutchinson's estimator of a diagonal).
    """
    generator, products = torch.Generator().manual_seed(0), 0
    gradient = window.relaxed(window.start).gradient
    for _ in range(PROBES):
        signs = torch.randint(0, 2, gradient.shape, generator=generator).to(gradient) * 2 - 1
        moved = window.relaxed(window.start + PROBE_SIZE * signs).gradient
        products = products + (moved - gradient) * signs / (PROBES * PROBE_SIZE)
    return window.mean_by_channel(products).clamp_min(LEAST_CURVATURE)


class Cost:
    """What the cost of latents depends on besides themselves: the loss of training, in bits."""

    def __init__(self, z: np.ndarray, top: int, t: float, picture, encoder):
        """z: real; top: the row of the latents that z begins at; t: the rate.

        picture: the pictures.Picture; encoder: a pair.Encoder with its decoder, with PyTorch.
        """
        self.z, self.top, self.picture = z, top, picture
        self.gray = picture.metadata.gray
        self.error = errors.BY_TUNE[encoder.tune]
        self.weight = encoder.lambda_ * 4**t * 255**2  # of an error
        config, transform = encoder.config, encoder.decoder.transform
        self.synthesis, self.device = transform.module, transform.device
        self.policies = quantize.policies(config.mode.latents, config.B)
        self.limits = torch.from_numpy(np.minimum(encoder.coder.kind.limits, LARGEST)).float().to(self.device)
        self.t = torch.tensor([t], device=self.device)
        network = network_of(encoder.coder.entropy_model, config)
        self.entropy_model = network.requires_grad_(False).to(self.device)


@dataclasses.dataclass(frozen=True)
class _Relaxed:
    """The loss of real symbols, and what a proximal step needs, each (S,).

    gradient: of the loss but for the symbols' own code lengths; offset, log_scale, limit: as of _Walked.
    """

    loss: float
    gradient: torch.Tensor
    offset: torch.Tensor
    log_scale: torch.Tensor
    limit: torch.Tensor

    def proximal(self, symbols, step):
        """Symbols (S,) with the least own code lengths and squared distances to a gradient step, which are
        divided by twice the step.

        step: so short that one times the slope of the code length is less than half a symbol.
        """
        moved = symbols - step * self.gradient
        corner = moved.round()
        below, at, above = (laplacian_bits(corner + by + self.offset, self.log_scale) for by in (-1, 0, 1))
        past = moved - corner
        right, left = (past - step * (above - at)).clamp_min(0), (past - step * (at - below)).clamp_max(0)
        return torch.clamp(corner + right + left, -self.limit, self.limit)


@dataclasses.dataclass(frozen=True)
class _Walked:
    """What a walk through a window finds, each (S,) in the order of coding, but for the latents (1, K, h, w).

    symbol + offset is the distance from the mean; log_scale: of its distribution; limit: the largest symbol.
    """

    symbols: torch.Tensor
    offset: torch.Tensor
    log_scale: torch.Tensor
    limit: torch.Tensor
    latents: torch.Tensor


class _Window:
    """The loss, in bits, of the symbols of a tile and its margin.

    start: those that would be coded, (S,); inner: which belong to the tile.
    """

    def __init__(self, cost, part, real):
        """part: the tiles.Tile, in the latents of the cost; real: latents (1, K, h, w) of its window."""
        rows, columns = part.window
        pixels = tiles.in_pixels((slice(rows.start + cost.top, rows.stop + cost.top), columns))
        target = cost.picture.window(*pixels)
        counts = np.zeros((*target.shape[:2], 1), bool)  # pixels that are not padding
        metadata = cost.picture.metadata
        counts[: metadata.height - pixels[0].start, : metadata.width - pixels[1].start] = True
        self._cost, self._tile, self._shape = cost, part.tile_in_window, real.shape[2:]
        self._target = self._tensor(target) / 255  # (1, 3, 16 h, 16 w)
        self._counts = self._tensor(counts) > 0
        self._weight = cost.weight * counts.size
        z = self._tensor(cost.z[tiles.in_hyper(part.window)])
        mean, _ = cost.entropy_model.hyper_parameters(cost.t)
        self._z = walk.from_rows(mean + (walk.to_rows(z) - mean).round(), z.shape[2:])
        self._number()
        real = real.to(cost.device)
        with torch.no_grad():
            walked = self._walk(real=real)
        self.start, self._start = walked.symbols, _whole_where_near(real, walked.latents)

    def _number(self):
        """Say of each symbol which latent it is, of which channel in which step, and whether of the tile."""
        (rows, columns), network, device = self._shape, self._cost.entropy_model, self._cost.device
        canvas = walk.Canvas(1, rows, columns, network.slices, device)
        channels = torch.arange(sum(network.slices), device=device).split(network.slices)
        latents, streams = [], []
        for step in network.steps:
            positions, own = canvas.positions(step.places)[:, None], channels[step.slice]  # (P, 1), (C,)
            latents.append((own * rows * columns + positions).flatten())
            streams.append((own + step.number * sum(network.slices)).expand(len(positions), -1).flatten())
        self._sizes = [len(part) for part in latents]
        self._latents = torch.cat(latents)  # (S,), in (K, h, w)
        self._streams = torch.cat(streams).unique(return_inverse=True)[1]  # (S,)
        inner = torch.zeros(self._shape, dtype=torch.bool, device=device)
        inner[self._tile] = True
        self.inner = inner.flatten()[self._latents % (rows * columns)]

    def _tensor(self, array):
        """Float (1, C, h, w) of an array (h, w, C)."""
        return torch.from_numpy(tiles.to_input(array)).to(self._cost.device)

    def mean_by_channel(self, values):
        """What values (S,) are in the mean over the positions of each channel in each step of coding."""
        sums = values.new_zeros(2, self._streams.max() + 1)
        sums.index_add_(1, self._streams, torch.stack((values, torch.ones_like(values))))
        return (sums[0] / sums[1])[self._streams]

    def relaxed(self, symbols):
        """The _Relaxed of real symbols."""
        leaf = symbols.clone().requires_grad_()
        walked = self._walk(leaf)
        below = walked.symbols.detach().floor()
        share = walked.symbols.detach() - below
        bits = torch.lerp(self._bits(walked, below), self._bits(walked, below + 1), share)
        # Gradients need few digits.
        with torch.autocast(symbols.device.type, torch.bfloat16, enabled=has_bfloat16(self._cost.device)):
            pixels = self._cost.synthesis(walked.latents, self._cost.t)
        loss = bits.sum() + self._distortion(pixels)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return _Relaxed(
            loss.item(), gradient, walked.offset.detach(), walked.log_scale.detach(), walked.limit
        )

    @torch.no_grad()
    def loss(self, symbols):
        """The loss of whole symbols, for pixels as they are shown."""
        walked = self._walk(symbols)
        pixels = self._cost.synthesis(walked.latents, self._cost.t)
        bits = self._bits(walked, walked.symbols).sum()
        return (bits + self._distortion((pixels * 255).round() / 255)).item()

    @torch.no_grad()
    def latents_of(self, symbols):
        """Latents of the tile that quantization makes these symbols of.

        Those that can be nothing but zero stay real where that is not near: they may get integers in the
        whole picture.
        """
        walked = self._walk(symbols)
        limit = torch.zeros_like(walked.latents).flatten().index_copy(0, self._latents, walked.limit)
        real = _whole_where_near(self._start, walked.latents)
        coded = torch.where(limit.view_as(real) > 0, walked.latents, real)
        rows, columns = self._tile
        return coded[:, :, rows, columns]

    def _walk(self, symbols=None, real=None):
        """The _Walked of symbols, or of those that real latents (1, K, h, w) are coded as."""
        cost, network = self._cost, self._cost.entropy_model
        groups = walk.Walk(network, self._z, self._shape, cost.t)
        limits = cost.limits.split(network.slices)
        dealer = given = slices = None
        if network.wanted is not None:
            dealer = Dealer(network.wanted, network.steps, math.prod(self._shape))
        if real is None:
            given = iter(symbols.split(self._sizes))
        else:
            slices = [walk.to_rows(part) for part in real.split(network.slices, 1)]
        found = []
        for group in groups:
            offset = torch.zeros_like(group.mean) if cost.policies.from_mean else -group.mean
            limit = torch.minimum(cost.policies.limit(group.log_scale.detach()), limits[group.step.slice])
            if dealer is not None:
                limit = limit * dealer.deal(group)
            if given is not None:
                chosen = next(given).view_as(group.mean)
            else:
                distance = group.of(slices) - group.mean
                chosen = (cost.policies.round(distance, group.mean, group.log_scale) - offset).round()
            chosen = torch.clamp(chosen, -limit, limit)
            groups.put(group, group.mean + offset + chosen)
            found.append((chosen, offset, group.log_scale, limit))
        return _Walked(*(torch.cat([x.flatten() for x in part]) for part in zip(*found)), groups.latents())

    def _bits(self, walked, symbols):
        """Code lengths (S,)."""
        return laplacian_bits(symbols + walked.offset, walked.log_scale) * (walked.limit > 0)

    def _distortion(self, pixels):
        """lambda * 255^2 * error in bits of the whole window."""
        if self._cost.gray:
            pixels = pixels.mean(1, keepdim=True)
        pixels = torch.where(self._counts, pixels.float().clamp(0, 1), self._target)
        return self._weight * self._cost.error(pixels, self._target).sum()


def _whole_where_near(real, coded):
    """Coded latents where they are what rounding makes of the real ones, and these elsewhere."""
    return torch.where((real - coded).abs() < 1, coded, real)
