"""A tile of a picture, as the search sees it: how its latents are coded, and what errors its pixels have."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch

import quantize
from coding import tiles
from coding.latents import LARGEST
from coding.modes import HIGHEST_RATE
from networks import descent, errors, walk
from networks.dealing import Dealer
from networks.entropy_model import network_of
from networks.precision import has_bfloat16


class Cost:
    """What the cost of latents depends on besides themselves: the loss of training, in bits."""

    def __init__(self, top: int, t: float, picture, encoder):
        """top: the row of the picture's latents that the latents begin at; t: the rate.

        picture: the pictures.Picture; encoder: a pair.Encoder with its decoder, with PyTorch.
        """
        self.top, self.picture = top, picture
        self.gray = picture.metadata.gray
        self.tune, self.error = encoder.tune, errors.BY_TUNE[encoder.tune]
        self.weight = encoder.lambda_ * 4**t * 255**2  # of an error
        config, transform = encoder.config, encoder.decoder.transform
        self.synthesis, self.device = transform.module, transform.device
        self.policies = quantize.policies(config.mode.latents, config.B)
        self.limits = torch.from_numpy(np.minimum(encoder.coder.kind.limits, LARGEST)).float().to(self.device)
        self.t = torch.tensor([t], device=self.device)
        self.trained_t = self.t.clamp_max(HIGHEST_RATE)  # that the networks know
        network = network_of(encoder.coder.entropy_model, config)
        self.entropy_model = network.requires_grad_(False).to(self.device)
        delta = torch.exp2(self.entropy_model.log_steps(self.tune, self.t))
        self.delta = delta[:, :, None, None]  # (1, K, 1, 1), quantization steps


@dataclasses.dataclass(frozen=True)
class Walked:
    """What a walk through a window finds: symbols (S,) in the order of coding and how they are coded, and the
    latents (1, K, h, w) that they say."""

    symbols: torch.Tensor
    code: descent.Code
    latents: torch.Tensor

    @property
    def bits(self) -> torch.Tensor:
        """Of all symbols."""
        return self.code.bits(self.symbols).sum()


class Window:
    """A tile and its margin.

    tile: where in the window; shape: (h, w) of the window, in latents.
    """

    def __init__(self, cost: Cost, part: tiles.Tile):
        """part: in the latents of the cost."""
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

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """Float (1, C, h, w) of an array (h, w, C)."""
        return torch.from_numpy(tiles.to_input(array)).to(self.cost.device)

    def walk_from(self, z: torch.Tensor) -> walk.Walk:
        """The walk through the latents; z: quantized, (1, Z, ceil(h/4), ceil(w/4))."""
        return walk.Walk(self.cost.entropy_model, z, self.shape, self.cost.t, self.cost.tune)

    def walk_to(self, symbols: torch.Tensor, sizes: list[int], z: torch.Tensor) -> Walked:
        """What symbols (S,) come to; sizes: how many are coded in each step; z: quantized."""
        given = iter(symbols.split(sizes))
        return self._walk(z, lambda group, offset: next(given).view_as(group.mean))

    def walk_along(self, real: torch.Tensor, z: torch.Tensor) -> Walked:
        """What real latents (1, K, h, w) are coded as; z: quantized."""
        slices = self.slices_of(real)

        def choose(group, offset):
            distance = group.distance(group.of(slices))
            return (self.cost.policies.round(distance, group.mean, group.log_scale) - offset).round()

        return self._walk(z, choose)

    def slices_of(self, latents: torch.Tensor) -> list[torch.Tensor]:
        """Latents (1, K, h, w) in slices (1, h * w, C)."""
        return [walk.to_rows(part) for part in latents.split(self.cost.entropy_model.slices, 1)]

    def _walk(self, z, choose: Callable) -> Walked:
        """choose: gives the symbols (1, P, C) of a group with some offset."""
        cost, network, groups = self.cost, self.cost.entropy_model, self.walk_from(z)
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
            groups.put(group, group.latents(offset + chosen))
            found.append((chosen, offset, group.log_scale, limit))
        symbols, *code = (torch.cat([x.flatten() for x in part]) for part in zip(*found))
        return Walked(symbols, descent.Code(*code), groups.latents())

    def distortion(self, latents: torch.Tensor) -> torch.Tensor:
        """lambda * 255^2 * error in bits, of pixels that are not yet rounded, for gradients.

        latents: quantized, (1, K, h, w).
        """
        # Gradients need few digits.
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=has_bfloat16(self.cost.device)):
            pixels = self.cost.synthesis(latents, self.cost.trained_t)
        return self._distortion_of(pixels)

    def shown_distortion(self, latents: torch.Tensor) -> torch.Tensor:
        """The same of pixels as they are shown."""
        return self._distortion_of((self.cost.synthesis(latents, self.cost.trained_t) * 255).round() / 255)

    def _distortion_of(self, pixels):
        if self.cost.gray:
            pixels = pixels.mean(1, keepdim=True)
        pixels = torch.where(self._counts, pixels.float().clamp(0, 1), self._target)
        return self._weight * self.cost.error(pixels, self._target).sum()
