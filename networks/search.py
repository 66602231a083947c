"""Encode-time refinement: gradient descent on the latents of one picture, through its synthesis transform.

The analysis transform was trained to be good on average. Here the latents of one picture are moved, from
where they would be coded, until lambda * 255^2 * error + bits is lower for that picture (Yang, Bamler and
Mandt 2020, "Improving inference for neural image compression"). Rounding is soft at first and hardens,
with no noise. The error is that of the encoder's tune. The file is one like any other.
"""

import dataclasses
import functools
import math

import numpy as np
import torch
from tqdm import tqdm

import quantize
from coding import tiles
from coding.latents import LARGEST, Latents
from networks import errors
from networks.entropy_model import network_of
from networks.precision import has_bfloat16

TILE = 48  # latents a side, a multiple of 4: gradients need more memory than coding does
CHECK_EVERY = 10  # iterations from one measurement of the real cost to the next
LEARNING_RATE = 0.3  # in quantization steps, at the start; a tenth of it at the end


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How the search goes.

    sharpness: of soft rounding at the start. annealing: it grows by a factor of e^annealing.
    damping: gradients, in bits a step, below which a latent moves by less than the learning rate; where all
    moved alike, many that hardly matter would be rounded the other way.
    """

    sharpness: float
    annealing: float
    damping: float


# By mode: the finer the latents, the less there is to move.
SCHEDULES = {
    "hard": Schedule(7.0, 2.0, 2.0),
    "soft": Schedule(5.0, 3.0, 1.0),
    "variable": Schedule(7.0, 2.0, 2.0),
}


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
    bar: is moved with each iteration; side: of a tile in latents, a multiple of 4.
    """
    y = latents.y.copy()
    for part in tiles.split(rows, y.shape[:2], tiles.SYNTHESIS_HALO, side):
        window = torch.from_numpy(tiles.to_input(y[part.window]))
        best = _descend(window, part, _WindowCost(cost, part.window), iterations, bar)
        y[rows][part.tile] = tiles.from_output(best.cpu().numpy())
    hyper_rows, _ = tiles.in_hyper((rows, slice(0, 0)))
    return Latents(y[rows], latents.z[hyper_rows])


def _everywhere(area):
    """An area of rows and columns, in all channels."""
    return slice(None), slice(None), *area


def _descend(window, tile, cost, iterations, bar):
    """The best latents (1, K, h, w) that are found for a tile.

    window: real latents (1, K, h, w) of the tile, which change here, and of its margin, which stays.
    cost: the _WindowCost; bar: is moved with each iteration.
    """
    inner = _everywhere(tile.tile_in_window)
    window, best_cost = cost.start(window.to(cost.device))
    best = window[inner]
    # From what would be coded, dead zone and all: that is better than the real latents, rounded plainly.
    y, schedule = best.clone().requires_grad_(), cost.schedule
    optimizer = torch.optim.Adam([y], eps=schedule.damping)
    for iteration in range(iterations):
        share = iteration / iterations
        sharpness = schedule.sharpness * math.exp(schedule.annealing * share)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.9 * share)
        window = window.detach().clone()
        window[inner] = y
        optimizer.zero_grad()
        cost.soft(window, sharpness).backward(inputs=[y])
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
    return best


def _whole_where_near(real, coded):
    """Coded latents where they are what rounding makes of the real ones, and these elsewhere."""
    return torch.where((real - coded).abs() < 1, coded, real)


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
        self.limits = np.minimum(encoder.coder.kind.limits, LARGEST)
        self.schedule = SCHEDULES[config.mode.name]
        self.t = torch.tensor([t], device=self.device)
        network = network_of(encoder.coder.entropy_model, config)
        self.entropy_model = network.requires_grad_(False).to(self.device)


class _WindowCost:
    """The cost, in bits, of the latents in a window, real or quantized, (1, K, h, w)."""

    def __init__(self, cost, window):
        """window: an area of the latents of the cost."""
        rows, columns = window
        pixels = tiles.in_pixels((slice(rows.start + cost.top, rows.stop + cost.top), columns))
        target = cost.picture.window(*pixels)
        counts = np.zeros((*target.shape[:2], 1), bool)  # pixels that are not padding
        metadata = cost.picture.metadata
        counts[: metadata.height - pixels[0].start, : metadata.width - pixels[1].start] = True
        self._cost, self.device, self.schedule = cost, cost.device, cost.schedule
        self._z = self._tensor(cost.z[tiles.in_hyper(window)])
        self._target = self._tensor(target) / 255  # (1, 3, 16 h, 16 w)
        self._counts = self._tensor(counts) > 0
        self._weight = cost.weight * counts.size
        self._limits = self._tensor(cost.limits[None, None])  # (1, K, 1, 1)

    def _tensor(self, array):
        """Float (1, C, h, w) of an array (h, w, C)."""
        return torch.from_numpy(tiles.to_input(array)).to(self.device)

    def clamp(self, y):
        """Latents brought to the range of quantized ones."""
        return torch.clamp(y, -self._limits, self._limits)

    @torch.no_grad()
    def start(self, window):
        """The latents of a window as they would be coded, and what they cost."""
        coded = self._code(window, self._cost.policies.round)[1]
        bits, coded = self.real(_whole_where_near(window, coded))
        return coded, bits

    def soft(self, window, sharpness):
        """The cost with soft rounding, a tensor with a gradient."""
        rounding = functools.partial(self._cost.policies.softly, sharpness=sharpness)
        bits, coded = self._code(window, rounding)
        # Gradients need few digits.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=has_bfloat16(self.device)):
            pixels = self._cost.synthesis(coded, self._cost.t)
        return bits.sum() + self._distortion(pixels)

    def real(self, window):
        """The cost once the window is rounded, with no dead zone, and the latents that then are coded.

        Real latents stay where none is near: those that get no integers may get some in the whole picture.
        """
        bits, coded = self._code(window, self._cost.policies.nearest)
        pixels = self._cost.synthesis(coded, self._cost.t)
        bits = bits.sum() + self._distortion((pixels * 255).round() / 255)
        return bits.item(), _whole_where_near(window, coded)

    def _code(self, window, rounding):
        """Bits (1,) and quantized latents (1, K, h, w) of a window."""
        _, bits, coded = self._cost.entropy_model.quantize(window, self._z, self._cost.t, rounding)
        return bits, coded

    def _distortion(self, pixels):
        """lambda * 255^2 * error in bits of the whole window."""
        if self._cost.gray:
            pixels = pixels.mean(1, keepdim=True)
        pixels = torch.where(self._counts, pixels.float().clamp(0, 1), self._target)
        return self._weight * self._cost.error(pixels, self._target).sum()
