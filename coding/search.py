"""Encode-time refinement: gradient descent on the latents of one picture, through its synthesis transform.

The analysis transform was trained to be good on average. Here the latents of one picture are moved
until lambda * 255^2 * MSE + bits is lower for that picture (Yang, Bamler and Mandt 2020, "Improving
inference for neural image compression"). Rounding is soft at first and hardens, with no noise. The file
is one like any other.
"""
import copy
import functools
import math

import numpy as np
import torch
from tqdm import tqdm

from coding import exact, tiles
from coding.latents import LARGEST, Latents
from coding.order import HYPER_STRIDE

TILE = 48            # latents a side, a multiple of 4: gradients need more memory than coding does
CHECK_EVERY = 10     # iterations from one measurement of the real cost to the next
LEARNING_RATE = 0.3  # in quantization steps, at the start; a tenth of it at the end
SHARPNESS = 2.0      # of soft rounding at the start
ANNEALING = 4.0      # the sharpness grows by a factor of e^4


def refine(
    latents: Latents,
    t: float,
    rgb: np.ndarray,
    encoder,
    decoder,
    iterations: int,
    gray: bool = False,
    side: int = TILE,
    progress: bool = False,
) -> Latents:
    """Real latents at rate t that cost less once they are quantized; z stays as it is.

    What costs less is the code length under the entropy model's own distributions, with the distortion; the
    adaptive models take a little less than that.
    rgb: the picture, uint8 (H, W, 3); encoder, decoder: a model.Encoder and its model.Decoder.
    gray: whether the decoded picture will be made gray; side: of a tile in latents, a multiple of 4.
    """
    y = latents.y.clone()
    entropy_model = exact.thaw(copy.deepcopy(encoder.coder.entropy_model)).requires_grad_(False).to(decoder.device)
    padded = tiles.pad(rgb)
    seen = np.zeros((*padded.shape[:2], 1), bool)  # pixels that are not padding
    seen[:rgb.shape[0], :rgb.shape[1]] = True
    parts = tiles.split(*y.shape[2:], side)
    weight = encoder.lambda_ * 4**t * 255**2
    with tqdm(total=len(parts) * iterations, delay=1, leave=False, disable=None if progress else True) as bar:
        for tile in parts:
            pixels = tiles.in_pixels(tile.window)
            cost = _Cost(padded[pixels], seen[pixels], _hyper_window(latents.z, tile), t, weight, entropy_model,
                         encoder.coder.kind, decoder, gray)
            y[_everywhere(tile.tile)] = _descend(y[_everywhere(tile.window)], tile, cost, iterations, bar)
    return Latents(y, latents.z)


def _everywhere(area):
    """An area of rows and columns, in all channels."""
    return slice(None), slice(None), *area


def _hyper_window(z, tile):
    """The part of z (1, Z, h/4, w/4) that the window of a tile needs."""
    return z[_everywhere(slice(s.start // HYPER_STRIDE, -(-s.stop // HYPER_STRIDE)) for s in tile.window)]


def _descend(window, tile, cost, iterations, bar):
    """The best latents (1, K, h, w) that are found for a tile.

    window: real latents (1, K, h, w) of the tile, which change here, and of its margins, which stay; cost: a _Cost.
    """
    inner = _everywhere(tile.tile_in_window)
    window = window.to(cost.device)
    y = cost.clamp(window[inner]).contiguous().requires_grad_()
    window, best_cost = cost.start(window)
    best = window[inner]
    optimizer = torch.optim.Adam([y])
    for iteration in range(iterations):
        share = iteration / iterations
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.9 * share)
        window = window.detach().clone()
        window[inner] = y
        optimizer.zero_grad()
        cost.soft(window, SHARPNESS * math.exp(ANNEALING * share)).backward(inputs=[y])
        optimizer.step()
        with torch.no_grad():
            y.copy_(cost.clamp(y))
            if (iteration + 1) % CHECK_EVERY == 0 or iteration + 1 == iterations:
                window = window.detach()
                window[inner] = y
                new_cost, coded = cost.real(window)
                if new_cost < best_cost:
                    best_cost, best = new_cost, coded[inner]
        bar.update()
    return best.cpu()


class _Cost:
    """The cost of latents of one window, real or quantized, (1, K, h, w): the loss of training in bits, with a z that stays.

    Its methods give the cost of the whole window, as a tensor or a number.
    """

    def __init__(self, rgb, seen, z, t, weight, entropy_model, kind, decoder, gray):
        """rgb: uint8 (16 h, 16 w, 3); seen: bool (16 h, 16 w, 1), which pixels count; weight: of a squared error in bits."""
        self.device, self._synthesis = decoder.device, decoder.transform
        self._entropy_model, self._kind, self._gray = entropy_model, kind, gray
        self._target = tiles.to_tensor(rgb, self.device) / 255           # (1, 3, 16 h, 16 w)
        self._weight = tiles.to_tensor(seen, self.device) * (weight / 3)  # (1, 1, 16 h, 16 w)
        self._t, self._z = torch.tensor([t], device=self.device), z.to(self.device)
        self._limits = kind.limits.clamp(max=LARGEST).view(1, -1, 1, 1).to(self.device, torch.float32)

    def clamp(self, y):
        """Latents brought to the range of quantized ones."""
        return torch.clamp(y, -self._limits, self._limits)

    @torch.no_grad()
    def start(self, window):
        """The latents of a window as they would be coded, and what they cost."""
        coded = self._entropy_model.quantize(window, self._z, self._t, self._kind.round)[2]
        cost, coded = self.real(coded)
        return coded, cost

    def soft(self, window, sharpness):
        """The cost with soft rounding, a tensor with a gradient."""
        bits, pixels, _ = self._code(window, functools.partial(self._kind.round_softly, sharpness=sharpness))
        return bits.sum() + self._distortion(pixels)

    def real(self, window):
        """The cost once the window is rounded, whatever the dead zone, and the latents (1, K, h, w) that then are coded."""
        bits, pixels, coded = self._code(window, self._kind.round_nearest)
        return (bits.sum() + self._distortion((pixels * 255).round() / 255)).item(), coded

    def _code(self, window, rounding):
        """Bits (1,), pixels (1, 3, 16 h, 16 w) and quantized latents of a window."""
        _, bits, coded = self._entropy_model.quantize(window, self._z, self._t, rounding)
        return bits, self._synthesis(coded, self._t), coded

    def _distortion(self, pixels):
        """lambda * 255^2 * MSE in bits of the whole window."""
        if self._gray:
            pixels = pixels.mean(1, keepdim=True)
        return (self._weight * (pixels.clamp(0, 1) - self._target).square()).sum()
