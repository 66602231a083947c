"""Encode-time refinement: gradient descent on the latent of one picture, through its decoder.

The analysis transform was trained to be good on average. Here the components of one picture are moved
until lambda * 255^2 * MSE + rate is lower for that picture (Yang, Bamler and Mandt 2020, "Improving
inference for neural image compression"). Rounding is soft at first and hardens, with no noise. The file
is one like any other.
"""
import copy
import math

import numpy as np
import torch
from tqdm import tqdm

import entropy
import exact
import picture
import quantize
import tiles
import variable
from context import HYPER_STRIDE
from model import STRIDE

TILE = 48            # latents a side: gradients need more memory than coding does
CHECK_EVERY = 10     # steps from one measurement of the real cost to the next
LEARNING_RATE = 0.3  # in quantisation steps, at the start; a tenth of it at the end
SHARPNESS = 2.0      # alpha of `soft_share` at the start
ANNEALING = 4.0      # alpha grows by a factor of e^4


def refine(rgb, latent, encoder, decoder, bank, steps, gray=False, side=TILE, progress=False):
    """A latent that costs less than `latent`, or `latent`, after `steps` of descent in each tile.

    rgb: uint8 (H, W, 3); latent: integers in [0, 2^B], (C, ceil(H/16), ceil(W/16)), from the encoder;
    bank: entropy.Bank of the two models; gray: the decoded picture will be made gray; side: of a tile in
    latents. Returns integers of the same shape.
    """
    latent = latent.copy()
    _search_tiles(rgb, latent.shape[1:], steps, side, progress, lambda rgb, seen, tile: _FixedRateSearch(
        rgb, seen, tile, encoder, decoder, gray, latent, bank))
    return latent


def refine_variable(rgb, z, b, t, encoder, decoder, steps, gray=False, side=TILE, progress=False):
    """Real latents b (1, C, h, w) that cost less once they are quantised, with z (1, Z, ceil(h/4), ceil(w/4)) at rate t.

    What costs less is the code length under the entropy model's own distributions, with the distortion; the
    adaptive coder takes a little less than that.
    """
    b = b.clone()
    context = exact.thaw(copy.deepcopy(encoder.context)).requires_grad_(False).to(next(encoder.parameters()).device)
    _search_tiles(rgb, b.shape[2:], steps, side, progress, lambda rgb, seen, tile: _VariableSearch(
        rgb, seen, tile, encoder, decoder, gray, z, b, t, context))
    return b


def _search_tiles(rgb, size, steps, side, progress, make_search):
    padded = picture.pad(rgb, STRIDE)
    seen = np.zeros((*padded.shape[:2], 1), bool)  # pixels that are not padding
    seen[:rgb.shape[0], :rgb.shape[1]] = True
    pieces = tiles.split(*size, side)
    with tqdm(total=len(pieces) * steps, unit="step", delay=1, leave=False, disable=None if progress else True) as bar:
        for tile in pieces:
            window = tiles.in_pixels(tile.window)
            make_search(padded[window], seen[window], tile).run(steps, bar)


def soft_share(fraction, alpha):
    """Share of the upper of two neighbouring integers, for the fraction above the lower, both in [0, 1].

    Soft rounding: the identity for alpha near 0, a step for alpha large (Agustsson and Theis 2020,
    "Universally quantized neural compression", section 4.1).
    """
    return 0.5 + 0.5 * torch.tanh(alpha * (fraction - 0.5)) / math.tanh(alpha / 2)


class _Search:
    """The descent in one tile. A window, float (1, K, h, w), holds the components of the tile, which change,
    and of its margin, which stay. Where they are coded they are rounded.

    The cost is the loss of training in bits: the rate and the distortion of the window.
    """

    def __init__(self, rgb, seen, tile, encoder, decoder, gray, lambda_):
        self.tile, self.encoder, self.decoder, self.gray = tile, encoder, decoder, gray
        self.inner = (slice(None), slice(None), *tile.tile_in_window)
        self.target = tiles.to_tensor(rgb, decoder) / 255                       # (1, 3, 16 h, 16 w)
        self.weight = tiles.to_tensor(seen, decoder) * (lambda_ * 255**2 / 3)  # (1, 1, 16 h, 16 w)

    def run(self, steps, bar):
        """Search, and `put` what is found."""
        with torch.no_grad():
            window, y = self.start()
            y = torch.clamp(y[self.inner], -self.limits, self.limits).contiguous().requires_grad_()
            best_cost, best = self.cost(window)
        optimizer = torch.optim.Adam([y])
        for step in range(steps):
            if step % CHECK_EVERY == 0:
                self.learn_statistics()
            progress = step / steps
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.9 * progress)
            window = window.detach().clone()
            window[self.inner] = y
            optimizer.zero_grad()
            self.soft_cost(window, SHARPNESS * math.exp(ANNEALING * progress)).backward(inputs=[y])
            optimizer.step()
            with torch.no_grad():
                y.copy_(torch.clamp(y, -self.limits, self.limits))
                if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                    window = window.detach()
                    window[self.inner] = y
                    best_cost, best = min((best_cost, best), self.cost(window), key=lambda found: found[0])
            bar.update()
        self.put(best)

    def distortion(self, x):
        """lambda * 255^2 * MSE in bits of the whole window, of pixels x (1, 3, 16 h, 16 w)."""
        if self.gray:
            x = x.mean(1, keepdim=True)
        return (self.weight * (x.clamp(0, 1) - self.target).square()).sum()


class _FixedRateSearch(_Search):
    """In hard and soft mode. The rate is the size of the payload of all of `latent`, which is kept up to date."""

    def __init__(self, rgb, seen, tile, encoder, decoder, gray, latent, bank):
        super().__init__(rgb, seen, tile, encoder, decoder, gray, encoder.lambda_)
        self.latent, self.bank = latent, bank
        self.B, self.digits = decoder.config.B, decoder.config.digits
        # Components are integers in [-limit, limit].
        limits = torch.tensor([(2**self.B + 1) ** count // 2 for count in self.digits], device=self.target.device)
        self.limits = limits.view(1, -1, 1, 1)
        self.most = int(limits.max())
        every = torch.arange(-self.most, self.most + 1, device=limits.device).view(1, 1, 1, -1)
        self.latent_of = self._to_latent(every.clamp(-self.limits, self.limits))[:, 0]  # (C, 2 * most + 1)

    def start(self):
        """The window at first, and its components before they were quantised."""
        window = tiles.to_tensor(self.latent[(slice(None), *self.tile.window)].transpose(1, 2, 0), self.decoder)
        return self.decoder.steps(quantize.dequantize(window, self.B)), self.encoder.steps(self.target)

    def learn_statistics(self):
        """Find the bits of every component at every integer, (1, K, 2 * most + 1), in the company of `latent`."""
        bits = self.bank.code_lengths(self.latent.reshape(len(self.latent), -1), 2**self.B + 1)
        bits = np.take_along_axis(bits, self.latent_of, 1)  # (C, 2 * most + 1)
        first = np.cumsum((0, *self.digits[:-1]))
        self.table = torch.from_numpy(np.add.reduceat(bits, first)).float().to(self.target.device)[None]

    def soft_cost(self, window, alpha):
        """Bits with soft rounding: the rate of the tile, between those of the integers around."""
        floor = torch.minimum(window.detach().floor(), self.limits - 1)
        share = soft_share(window - floor, alpha)
        inner_floor, inner_share = floor[self.inner], share[self.inner]
        index = (inner_floor + self.most).long().flatten(2)
        below, above = (self.table.gather(2, i).view_as(inner_share) for i in (index, index + 1))
        return torch.lerp(below, above, inner_share).sum() + self.distortion(self.decoder.pixels(floor + share))

    def cost(self, window):
        """Bits of a window once it is rounded, with all else, and the rounded components of the tile."""
        self.put(window[self.inner].round())
        decoded = (self.decoder.pixels(window.round()) * 255).round() / 255
        payload = entropy.encode(self.latent.reshape(len(self.latent), -1), self.bank)
        return 8 * len(payload) + self.distortion(decoded).item(), window[self.inner].round()

    def put(self, components):
        """Keep integer components of the tile."""
        self.latent[(slice(None), *self.tile.tile)] = self._to_latent(components)

    def _to_latent(self, components):
        """Integers in [0, 2^B], (C, h, w), of integer components (1, K, h, w)."""
        return quantize.quantize(self.encoder.latent(components.float()), self.B)[0].detach().int().cpu().numpy()


class _VariableSearch(_Search):
    """In variable mode. The rate is the ideal code length of the window, in context, for a z that stays."""

    def __init__(self, rgb, seen, tile, encoder, decoder, gray, z, b, t, context):
        super().__init__(rgb, seen, tile, encoder, decoder, gray, encoder.lambda_ * 4**t)
        device = self.target.device
        self.b, self.context, self.t = b, context, torch.tensor([t], device=device)
        self.limits = torch.full((1, 1, 1, 1), float(variable.LARGEST), device=device)
        window = tuple(slice(s.start // HYPER_STRIDE, -(-s.stop // HYPER_STRIDE)) for s in tile.window)
        self.z = z[(slice(None), slice(None), *window)].to(device)

    def start(self):
        """The window at first, as it would be coded, and its latents before that."""
        window = self.b[(slice(None), slice(None), *self.tile.window)].to(self.target.device)
        return self.context.quantise(self.z, window, self.t, quantize.round_to_zero)[2], window

    def learn_statistics(self):
        """The context model needs none."""

    def _cost(self, window, rounding):
        _, bits, latents = self.context.quantise(self.z, window, self.t, rounding)
        return bits.sum(), self.decoder.pixels(self.decoder.from_rate(latents, self.t), self.t), latents

    def soft_cost(self, window, alpha):
        """Bits with soft rounding."""
        def rounding(distance, log_scale):
            floor = distance.detach().floor()
            return floor + soft_share(distance - floor, alpha)
        bits, pixels, _ = self._cost(window, rounding)
        return bits + self.distortion(pixels)

    def cost(self, window):
        """Bits of a window once it is rounded, and the latents of the tile that then are coded, whatever the dead zone."""
        bits, pixels, latents = self._cost(
            window, lambda distance, log_scale: distance.round() * (log_scale >= quantize.LEAST_LOG_SCALE))
        return (bits + self.distortion((pixels * 255).round() / 255)).item(), latents[self.inner]

    def put(self, components):
        """Keep latents of the tile."""
        self.b[(slice(None), slice(None), *self.tile.tile)] = components.cpu()
