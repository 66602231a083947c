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

import exact
import latent_coder
import picture
import quantize
import tiles
from context import HYPER_STRIDE
from model import STRIDE

TILE = 48            # latents a side: gradients need more memory than coding does
CHECK_EVERY = 10     # steps from one measurement of the real cost to the next
LEARNING_RATE = 0.3  # in quantisation steps, at the start; a tenth of it at the end
SHARPNESS = 2.0      # alpha of `soft_share` at the start
ANNEALING = 4.0      # alpha grows by a factor of e^4


def refine(rgb, z, b, t, encoder, decoder, steps, gray=False, side=TILE, progress=False):
    """Real latents b (1, C, h, w) that cost less once they are quantised, with z (1, Z, ceil(h/4), ceil(w/4)) at rate t.

    What costs less is the code length under the entropy model's own distributions, with the distortion; the
    adaptive coder takes a little less than that. rgb: uint8 (H, W, 3); b, z: from the encoder; gray: the decoded
    picture will be made gray; side: of a tile in latents, a multiple of 4 as is its margin, so that z fits.
    """
    b = b.clone()
    context = exact.thaw(copy.deepcopy(encoder.context)).requires_grad_(False).to(next(encoder.parameters()).device)
    padded = picture.pad(rgb, STRIDE)
    seen = np.zeros((*padded.shape[:2], 1), bool)  # pixels that are not padding
    seen[:rgb.shape[0], :rgb.shape[1]] = True
    pieces = tiles.split(*b.shape[2:], side)
    with tqdm(total=len(pieces) * steps, unit="step", delay=1, leave=False, disable=None if progress else True) as bar:
        for tile in pieces:
            window = tiles.in_pixels(tile.window)
            _Search(padded[window], seen[window], tile, encoder, decoder, gray, z, b, t, context).run(steps, bar)
    return b


def soft_share(fraction, alpha):
    """Share of the upper of two neighbouring integers, for the fraction above the lower, both in [0, 1].

    Soft rounding: the identity for alpha near 0, a step for alpha large (Agustsson and Theis 2020,
    "Universally quantized neural compression", section 4.1).
    """
    return 0.5 + 0.5 * torch.tanh(alpha * (fraction - 0.5)) / math.tanh(alpha / 2)


class _Search:
    """The descent in one tile. A window, float (1, K, h, w), holds the latents of the tile, which change, and of
    its margin, which stay.

    The cost is the loss of training in bits: the rate and the distortion of the window, with a z that stays.
    """

    def __init__(self, rgb, seen, tile, encoder, decoder, gray, z, b, t, context):
        self.tile, self.decoder, self.gray, self.b, self.context = tile, decoder, gray, b, context
        self.inner = (slice(None), slice(None), *tile.tile_in_window)
        self.target = tiles.to_tensor(rgb, decoder) / 255  # (1, 3, 16 h, 16 w)
        self.weight = tiles.to_tensor(seen, decoder) * (encoder.lambda_ * 4**t * 255**2 / 3)  # (1, 1, 16 h, 16 w)
        self.t = torch.tensor([t], device=self.target.device)
        self.limits = encoder.config.limits.clamp(max=latent_coder.LARGEST).view(1, -1, 1, 1).to(self.target.device, torch.float32)
        window = tuple(slice(s.start // HYPER_STRIDE, -(-s.stop // HYPER_STRIDE)) for s in tile.window)
        self.z = z[(slice(None), slice(None), *window)].to(self.target.device)

    def run(self, steps, bar):
        """Search, and keep in b what is found."""
        with torch.no_grad():
            window = self.b[(slice(None), slice(None), *self.tile.window)].to(self.target.device)
            y = torch.clamp(window[self.inner], -self.limits, self.limits).contiguous().requires_grad_()
            window = self.context.quantise(self.z, window, self.t, self.context.rounded)[2]  # as it would be coded
            best_cost, best = self.cost(window)
        optimizer = torch.optim.Adam([y])
        for step in range(steps):
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
        self.b[(slice(None), slice(None), *self.tile.tile)] = best.cpu()

    def _terms(self, window, rounding):
        """Bits (1,), pixels (1, 3, 16 h, 16 w) and quantised latents (1, K, h, w) of a window."""
        _, bits, latents = self.context.quantise(self.z, window, self.t, rounding)
        return bits, self.decoder.pixels(self.decoder.from_rate(latents, self.t), self.t), latents

    def _distortion(self, x):
        """lambda * 255^2 * MSE in bits of the whole window, of pixels x (1, 3, 16 h, 16 w)."""
        if self.gray:
            x = x.mean(1, keepdim=True)
        return (self.weight * (x.clamp(0, 1) - self.target).square()).sum()

    def soft_cost(self, window, alpha):
        """Bits with soft rounding."""
        def rounding(distance, mean, log_scale):
            whole = mean if self.context.on_grid else 0
            floor = (distance + whole).detach().floor()
            return floor + soft_share(distance + whole - floor, alpha) - whole
        bits, pixels, _ = self._terms(window, rounding)
        return bits.sum() + self._distortion(pixels)

    def cost(self, window):
        """Bits of a window once it is rounded, and the latents of the tile that then are coded, whatever the dead zone."""
        def rounding(distance, mean, log_scale):
            if self.context.on_grid:
                return self.context.rounded(distance, mean, log_scale)
            return distance.round() * (log_scale >= quantize.LEAST_LOG_SCALE)
        bits, pixels, latents = self._terms(window, rounding)
        return (bits.sum() + self._distortion((pixels * 255).round() / 255)).item(), latents[self.inner]
