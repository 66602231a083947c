"""Encode-time refinement: gradient descent on the latent of one picture, through its decoder.

The analysis transform was trained to be good on average. Here the components of one picture are moved
until lambda * 255^2 * MSE + rate is lower for that picture (Yang, Bamler and Mandt 2020, "Improving
inference for neural image compression"). Rounding is soft at first and hardens, with no noise. The file
is one like any other.
"""
import math

import numpy as np
import torch
from tqdm import tqdm

import entropy
import picture
import quantize
import tiles
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
    padded = picture.pad(rgb, STRIDE)
    seen = np.zeros((*padded.shape[:2], 1), bool)  # pixels that are not padding
    seen[:rgb.shape[0], :rgb.shape[1]] = True
    pieces = tiles.split(*latent.shape[1:], side)
    with tqdm(total=len(pieces) * steps, unit="step", delay=1, leave=False, disable=None if progress else True) as bar:
        for tile in pieces:
            window = tiles.in_pixels(tile.window)
            search = _Search(padded[window], seen[window], latent, tile, encoder, decoder, bank, gray)
            search.run(steps, bar)
    return latent


def soft_share(fraction, alpha):
    """Share of the upper of two neighbouring integers, for the fraction above the lower, both in [0, 1].

    Soft rounding: the identity for alpha near 0, a step for alpha large (Agustsson and Theis 2020,
    "Universally quantized neural compression", section 4.1).
    """
    return 0.5 + 0.5 * torch.tanh(alpha * (fraction - 0.5)) / math.tanh(alpha / 2)


class _Search:
    """The descent in one tile. `run` replaces the tile's integers in `latent`; those of the margin stay.

    A window, float (1, K, h, w), holds the components of the tile and of its margin. Its cost is the loss
    of training in bits: the size of the payload of all of `latent`, and the distortion of the window.
    """

    def __init__(self, rgb, seen, latent, tile, encoder, decoder, bank, gray):
        self.latent, self.tile, self.encoder, self.decoder, self.bank, self.gray = latent, tile, encoder, decoder, bank, gray
        self.B, self.digits = decoder.config.B, decoder.config.digits
        self.target = tiles.to_tensor(rgb, decoder) / 255                               # (1, 3, 16 h, 16 w)
        self.weight = tiles.to_tensor(seen, decoder) * (encoder.lambda_ * 255**2 / 3)  # (1, 1, 16 h, 16 w)
        # Components are integers in [-limit, limit].
        limits = torch.tensor([(2**self.B + 1) ** count // 2 for count in self.digits], device=self.target.device)
        self.limits = limits.view(1, -1, 1, 1)
        self.most = int(limits.max())
        every = torch.arange(-self.most, self.most + 1, device=limits.device).view(1, 1, 1, -1)
        self.latent_of = self._to_latent(every.clamp(-self.limits, self.limits))[:, 0]  # (C, 2 * most + 1)

    def run(self, steps, bar):
        inner = (slice(None), slice(None), *self.tile.tile_in_window)
        with torch.no_grad():
            window = tiles.to_tensor(self.latent[(slice(None), *self.tile.window)].transpose(1, 2, 0), self.decoder)
            window = self.decoder.steps(quantize.dequantize(window, self.B))
            y = self.encoder.steps(self.target)[inner]
        y = torch.clamp(y, -self.limits, self.limits).contiguous().requires_grad_()
        best, best_cost = window[inner], self._cost(window, inner)
        optimizer = torch.optim.Adam([y])
        for step in range(steps):
            if step % CHECK_EVERY == 0:
                table = self._code_lengths()
            progress = step / steps
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.9 * progress)
            floor = torch.minimum(y.detach().floor(), self.limits - 1)
            share = soft_share(y - floor, SHARPNESS * math.exp(ANNEALING * progress))
            index = (floor + self.most).long().flatten(2)  # (1, K, h * w)
            below, above = (table.gather(2, i).view_as(y) for i in (index, index + 1))
            window = window.detach().clone()
            window[inner] = floor + share
            optimizer.zero_grad()
            (torch.lerp(below, above, share).sum() + self._distortion(self._pixels(window))).backward(inputs=[y])
            optimizer.step()
            with torch.no_grad():
                y.copy_(torch.clamp(y, -self.limits, self.limits))
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                window = window.detach()
                window[inner] = y.detach().round()
                cost = self._cost(window, inner)
                if cost < best_cost:
                    best, best_cost = window[inner].clone(), cost
            bar.update()
        self._put(best)

    def _pixels(self, window):
        x = self.decoder.pixels(window)
        return x.mean(1, keepdim=True) if self.gray else x

    def _distortion(self, x):
        """lambda * 255^2 * MSE in bits of the whole window, of pixels x (1, 3 or 1, 16 h, 16 w)."""
        return (self.weight * (x.clamp(0, 1) - self.target).square()).sum()

    @torch.no_grad()
    def _cost(self, window, inner):
        """Bits of the real payload and the real distortion of integer components; leaves them in `latent`."""
        self._put(window[inner])
        payload = entropy.encode(self.latent.reshape(len(self.latent), -1), self.bank)
        decoded = (self._pixels(window) * 255).round() / 255
        return 8 * len(payload) + self._distortion(decoded).item()

    def _put(self, components):
        self.latent[(slice(None), *self.tile.tile)] = self._to_latent(components)

    def _to_latent(self, components):
        """Integers in [0, 2^B], (C, h, w), of integer components (1, K, h, w)."""
        return quantize.quantize(self.encoder.latent(components.float()), self.B)[0].detach().int().cpu().numpy()

    def _code_lengths(self):
        """Bits of every component at every integer, (1, K, 2 * most + 1), with the statistics of `latent`."""
        bits = self.bank.code_lengths(self.latent.reshape(len(self.latent), -1), 2**self.B + 1)
        bits = np.take_along_axis(bits, self.latent_of, 1)  # (C, 2 * most + 1)
        first = np.cumsum((0, *self.digits[:-1]))
        return torch.from_numpy(np.add.reduceat(bits, first)).float().to(self.target.device)[None]
