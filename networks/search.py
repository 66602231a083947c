"""Encode-time refinement: a search for the symbols of one picture, through its synthesis transform.

The analysis transform was trained to be good on average, and rounds each latent by itself. Here the symbols
of one picture, which are what the latents are rounded to, are moved from where they would be coded until
lambda * 255^2 * error + bits is lower for that picture (Yang, Bamler and Mandt 2020, "Improving inference
for neural image compression"). The error is that of the encoder's tune. The file is one like any other.

z goes first: its symbols are searched for what z and the latents cost together, while the latents stay as
they are, which needs the entropy model alone. Then those of the latents are, by `descent.py` too.
"""

import dataclasses
import math

import numpy as np
import torch
from tqdm import tqdm

import quantize
from coding import tiles
from coding.latents import LARGEST, Latents
from networks import descent, errors, walk
from networks.dealing import Dealer
from networks.entropy_model import laplacian_bits, network_of
from networks.precision import has_bfloat16

TILE = 48  # latents a side, a multiple of 4: gradients need more memory than coding does
HYPER_SHARE = 0.5  # of the iterations, for z; each takes a sixth of the time of one for the latents


def refine(
    latents: Latents,
    rows: slice,
    cost: "Cost",
    iterations: int,
    bar: tqdm,
    side: int = TILE,
) -> Latents:
    """Real latents of some rows that cost less once they are quantized.

    What costs less is the code length under the entropy model's own distributions, with the distortion; the
    adaptive models take a little less than that.
    latents: of the rows, and of a margin that stays; cost: of these.
    iterations: of each tile, for its latents; bar: is moved with each.
    side: of a tile in latents, a multiple of 4.
    """
    y, z = latents.y.copy(), latents.z.copy()
    for part in tiles.split(rows, y.shape[:2], tiles.SYNTHESIS_HALO, side):
        window, of_z = _Window(cost, part), tiles.in_hyper(part.window)
        real_y, real_z = window.tensor(y[part.window]), window.tensor(z[of_z])
        symbols = _HyperSymbols(window, real_y, real_z)
        real_z = symbols.z_of(descent.descend(symbols, math.ceil(HYPER_SHARE * iterations)))
        symbols = _LatentSymbols(window, real_y, real_z)
        best = symbols.latents_of(descent.descend(symbols, iterations, bar.update))
        z[of_z], y[rows][part.tile] = (tiles.from_output(found.cpu().numpy()) for found in (real_z, best))
    hyper_rows, _ = tiles.in_hyper((rows, slice(0, 0)))
    return Latents(y[rows], z[hyper_rows])


class Cost:
    """What the cost of latents depends on besides themselves: the loss of training, in bits."""

    def __init__(self, top: int, t: float, picture, encoder):
        """top: the row of the picture's latents that the latents begin at; t: the rate.

        picture: the pictures.Picture; encoder: a pair.Encoder with its decoder, with PyTorch.
        """
        self.top, self.picture = top, picture
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
class _Walked:
    """What a walk through a window finds: symbols (S,) in the order of coding and how they are coded, and the
    latents (1, K, h, w) that they say."""

    symbols: torch.Tensor
    code: descent.Code
    latents: torch.Tensor

    @property
    def bits(self):
        """Of all symbols."""
        return self.code.bits(self.symbols).sum()


class _Window:
    """A tile and its margin: how latents in it are coded, and what errors their pixels have.

    tile: where in the window; shape: (h, w) of the window, in latents.
    """

    def __init__(self, cost, part):
        """part: the tiles.Tile, in the latents of the cost."""
        rows, columns = part.window
        pixels = tiles.in_pixels((slice(rows.start + cost.top, rows.stop + cost.top), columns))
        target = cost.picture.window(*pixels)
        counts = np.zeros((*target.shape[:2], 1), bool)  # pixels that are not padding
        metadata = cost.picture.metadata
        counts[: metadata.height - pixels[0].start, : metadata.width - pixels[1].start] = True
        self.cost, self.tile = cost, part.tile_in_window
        self.shape = rows.stop - rows.start, columns.stop - columns.start
        self._target = self.tensor(target) / 255  # (1, 3, 16 h, 16 w)
        self._counts = self.tensor(counts) > 0
        self._weight = cost.weight * counts.size

    def tensor(self, array):
        """Float (1, C, h, w) of an array (h, w, C)."""
        return torch.from_numpy(tiles.to_input(array)).to(self.cost.device)

    def groups(self, z):
        """The walk.Walk through the latents; z: quantized."""
        return walk.Walk(self.cost.entropy_model, z, self.shape, self.cost.t)

    def walk_to(self, symbols, sizes, z):
        """The _Walked of symbols (S,); sizes: how many are coded in each step; z: quantized."""
        given = iter(symbols.split(sizes))
        return self._walk(z, lambda group, offset: next(given).view_as(group.mean))

    def walk_along(self, real, z):
        """The _Walked of those symbols that real latents (1, K, h, w) are coded as."""
        slices = self.slices_of(real)

        def choose(group, offset):
            distance = group.of(slices) - group.mean
            return (self.cost.policies.round(distance, group.mean, group.log_scale) - offset).round()

        return self._walk(z, choose)

    def slices_of(self, latents):
        """Latents (1, K, h, w) in slices (1, h * w, C)."""
        return [walk.to_rows(part) for part in latents.split(self.cost.entropy_model.slices, 1)]

    def _walk(self, z, choose):
        """choose: gives the symbols (1, P, C) of a group with some offset."""
        cost, network, groups = self.cost, self.cost.entropy_model, self.groups(z)
        limits, found = cost.limits.split(network.slices), []
        dealer = None
        if network.wanted is not None:
            dealer = Dealer(network.wanted, network.steps, math.prod(self.shape))
        for group in groups:
            offset = torch.zeros_like(group.mean) if cost.policies.from_mean else -group.mean
            limit = torch.minimum(cost.policies.limit(group.log_scale.detach()), limits[group.step.slice])
            if dealer is not None:
                limit = limit * dealer.deal(group)
            chosen = torch.clamp(choose(group, offset), -limit, limit)
            groups.put(group, group.mean + offset + chosen)
            found.append((chosen, offset, group.log_scale, limit))
        symbols, *code = (torch.cat([x.flatten() for x in part]) for part in zip(*found))
        return _Walked(symbols, descent.Code(*code), groups.latents())

    def distortion(self, latents):
        """lambda * 255^2 * error in bits, of pixels that are not yet rounded, for gradients."""
        # Gradients need few digits.
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=has_bfloat16(self.cost.device)):
            pixels = self.cost.synthesis(latents, self.cost.t)
        return self._distortion_of(pixels)

    def shown_distortion(self, latents):
        """The same of pixels as they are shown."""
        return self._distortion_of((self.cost.synthesis(latents, self.cost.t) * 255).round() / 255)

    def _distortion_of(self, pixels):
        if self.cost.gray:
            pixels = pixels.mean(1, keepdim=True)
        pixels = torch.where(self._counts, pixels.float().clamp(0, 1), self._target)
        return self._weight * self.cost.error(pixels, self._target).sum()


class _HyperSymbols:
    """The objective of z: what z and the latents cost, while these stay as they are.

    Its gradient is that of latents that are not rounded, whose bits are those of a latent with noise: it is
    smooth, and needs no pixels.
    """

    def __init__(self, window, y, z):
        """y, z: of the window, real, (1, K, h, w) and (1, Z, ceil(h/4), ceil(w/4))."""
        self._window, self._y = window, y
        cost = window.cost
        self._mean, log_scale = cost.entropy_model.hyper_parameters(cost.t)  # (1, 1, Z)
        symbols = (walk.to_rows(z) - self._mean).round()
        self._rows, self._shape = symbols.shape, z.shape[2:]
        log_scale = log_scale.expand(self._rows).flatten()
        limit = quantize.limit_of_distances(log_scale)  # most channels of a trained z are never coded
        self.start = torch.clamp(symbols.flatten(), -limit, limit)  # (S,), position by position
        self._code = descent.Code(torch.zeros_like(self.start), log_scale, limit)
        inner = torch.zeros(self._shape, dtype=torch.bool, device=z.device)
        inner[tiles.in_hyper(window.tile)] = True
        self.inner = inner.flatten()[:, None].expand(self._rows[1:]).flatten()
        if not cost.policies.from_mean:  # they become the same integers with any z
            with torch.no_grad():
                y = window.walk_along(y, self.z_of(self.start)).latents
        self._slices = window.slices_of(y)

    def z_of(self, symbols):
        """z, quantized, of symbols (S,)."""
        return walk.from_rows(self._mean + symbols.view(self._rows), self._shape)

    def mean_by_channel(self, values):
        """What values (S,) are in the mean over the positions of each channel."""
        return values.view(self._rows).mean(1, keepdim=True).expand(self._rows).flatten()

    def relaxed(self, symbols):
        """The descent.Relaxed of real symbols."""
        leaf = symbols.clone().requires_grad_()
        window, bits = self._window, 0
        groups = window.groups(self.z_of(leaf))
        for group in groups:
            real = group.of(self._slices)
            bits = bits + laplacian_bits(real - group.mean, group.log_scale).sum()
            with torch.no_grad():
                groups.put(group, real)
        (gradient,) = torch.autograd.grad(bits, leaf)
        loss = bits.detach() + self._code.relaxed_bits(symbols).sum()
        return descent.Relaxed(loss.item(), gradient, self._code)

    @torch.no_grad()
    def loss(self, symbols):
        """The loss of whole symbols, for latents that are rounded and pixels as they are shown."""
        walked = self._window.walk_along(self._y, self.z_of(symbols))
        bits = walked.bits + self._code.bits(symbols).sum()
        return (bits + self._window.shown_distortion(walked.latents)).item()


class _LatentSymbols:
    """The objective of the latents, whose start is what would be coded with this z."""

    def __init__(self, window, y, z):
        """y: of the window, real, (1, K, h, w); z: quantized, (1, Z, ceil(h/4), ceil(w/4))."""
        self._window, self._z = window, z
        self._number()
        with torch.no_grad():
            walked = window.walk_along(y, z)
        self.start, self._start = walked.symbols, _whole_where_near(y, walked.latents)

    def _number(self):
        """Say of each symbol which latent it is, of which channel in which step, and whether of the tile."""
        (rows, columns), network = self._window.shape, self._window.cost.entropy_model
        device = self._window.cost.device
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
        inner = torch.zeros(self._window.shape, dtype=torch.bool, device=device)
        inner[self._window.tile] = True
        self.inner = inner.flatten()[self._latents % (rows * columns)]

    def mean_by_channel(self, values):
        """What values (S,) are in the mean over the positions of each channel in each step of coding."""
        sums = values.new_zeros(2, self._streams.max() + 1)
        sums.index_add_(1, self._streams, torch.stack((values, torch.ones_like(values))))
        return (sums[0] / sums[1])[self._streams]

    def _walked(self, symbols):
        return self._window.walk_to(symbols, self._sizes, self._z)

    def relaxed(self, symbols):
        """The descent.Relaxed of real symbols."""
        leaf = symbols.clone().requires_grad_()
        walked = self._walked(leaf)
        bits = walked.code.relaxed_bits(walked.symbols).sum()
        loss = bits + self._window.distortion(walked.latents)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return descent.Relaxed(loss.item(), gradient, walked.code.detached())

    @torch.no_grad()
    def loss(self, symbols):
        """The loss of whole symbols, for pixels as they are shown."""
        walked = self._walked(symbols)
        return (walked.bits + self._window.shown_distortion(walked.latents)).item()

    @torch.no_grad()
    def latents_of(self, symbols):
        """Latents of the tile that quantization makes these symbols of.

        Those that can be nothing but zero stay real where that is not near: they may get integers in the
        whole picture.
        """
        walked = self._walked(symbols)
        limit = torch.zeros_like(walked.latents).flatten().index_copy(0, self._latents, walked.code.limit)
        real = _whole_where_near(self._start, walked.latents)
        coded = torch.where(limit.view_as(real) > 0, walked.latents, real)
        rows, columns = self._window.tile
        return coded[:, :, rows, columns]


def _whole_where_near(real, coded):
    """Coded latents where they are what rounding makes of the real ones, and these elsewhere."""
    return torch.where((real - coded).abs() < 1, coded, real)
