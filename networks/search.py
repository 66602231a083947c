"""Encode-time refinement: a search for the symbols of one picture, through its synthesis transform.

The analysis transform was trained to be good on average, and rounds each latent by itself. Here the symbols
of one picture, which are what the latents are rounded to, are moved from where they would be coded until
lambda * 255^2 * error + bits is lower for that picture (Yang, Bamler and Mandt 2020, "Improving inference
for neural image compression"). The error is that of the encoder's tune. The file is one like any other.

z goes first: its symbols are searched for what z and the latents cost together, while the latents stay as
they are. Its steps need the entropy model alone, and what they find is kept if it costs less with the pixels
too. Then come the symbols of the latents, whose errors are not orthogonal in the picture. Both are searches
by `descent.py`.
"""

import math

import torch
from tqdm import tqdm

import quantize
from coding import tiles
from coding.latents import LARGEST, Latents
from networks import descent, walk
from networks.entropy_model import laplacian_bits
from networks.window import Cost, Window

TILE = 48  # latents a side, a multiple of 4: gradients need more memory than coding does
HYPER_SHARE = 0.5  # of the iterations, for z; each takes a third of the time of one for the latents at most


def refine(
    latents: Latents,
    rows: slice,
    cost: Cost,
    iterations: int,
    bar: tqdm,
    side: int = TILE,
) -> Latents:
    """Real latents of some rows that cost less once they are quantized.

    What costs less is the code length under the entropy model's own distributions, with the distortion; the
    adaptive models take a little less than that.
    latents: of the rows, and of a margin whose symbols stay; cost: of these.
    iterations: of each tile, for its latents; bar: is moved with each.
    side: of a tile in latents, a multiple of 4.
    """
    y, z = latents.y.copy(), latents.z.copy()
    for part in tiles.split(rows, y.shape[:2], tiles.SYNTHESIS_HALO, side):
        window, z_area = Window(cost, part), tiles.in_hyper(part.window)
        real = window.tensor(y[part.window])
        hyper = _HyperSymbols(window, real, window.tensor(z[z_area]))
        found_z = hyper.z_of(descent.descend(hyper, math.ceil(HYPER_SHARE * iterations)))
        symbols = _LatentSymbols(window, real, found_z)
        found_y = symbols.latents_of(descent.descend(symbols, iterations, bar.update))
        z[z_area] = tiles.from_output(found_z.cpu().numpy())
        y[rows][part.tile] = tiles.from_output(found_y.cpu().numpy())
    hyper_rows, _ = tiles.in_hyper((rows, slice(0, 0)))
    return Latents(y[rows], z[hyper_rows])


class _HyperSymbols:
    """The objective of z: what z and the latents cost, while these stay as they are.

    Its gradient is that of bits alone, and of latents that are not rounded, all of them: these have the bits
    of latents with noise, as in training, so that the gradient is smooth.
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

    def mean_of_like(self, values):
        """What values (S,) are in the mean over the positions of each channel."""
        return values.view(self._rows).mean(1, keepdim=True).expand(self._rows).flatten()

    def relaxed(self, symbols):
        """The descent.Relaxed of real symbols."""
        leaf = symbols.clone().requires_grad_()
        groups, bits = self._window.walk_from(self.z_of(leaf)), 0
        for group in groups:
            real = group.of(self._slices)
            bits = bits + laplacian_bits(group.distance(real), group.log_scale).sum()
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
        with torch.no_grad():
            walked = window.walk_along(y, z)
        self.start, self._start = walked.symbols, self._whole_where_near(y, walked.latents)
        # Of each symbol which latent it is, of which channel in which step, and whether of the tile.
        (rows, columns), network, device = window.shape, window.cost.entropy_model, window.cost.device
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
        inner = torch.zeros(window.shape, dtype=torch.bool, device=device)
        inner[window.tile] = True
        self.inner = inner.flatten()[self._latents % (rows * columns)]

    def mean_of_like(self, values):
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
        real = self._whole_where_near(self._start, walked.latents)
        coded = torch.where(limit.view_as(real) > 0, walked.latents, real)
        rows, columns = self._window.tile
        return coded[:, :, rows, columns].clamp(-LARGEST, LARGEST)

    def _whole_where_near(self, real, coded):
        """Coded latents where they are what rounding makes of the real ones, and these elsewhere."""
        return torch.where((real - coded).abs() < self._window.cost.delta, coded, real)
