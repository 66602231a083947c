"""Which latents get integers, for training and search; `coding/dealing.py` is the one for coding."""

from collections.abc import Sequence

import torch

from coding import dealing, scales
from coding.order import Step
from networks.walk import Group


class Dealer:
    """Deals the integers of each sample of a batch, step by step, as if it were one band."""

    def __init__(self, wanted: torch.Tensor, steps: Sequence[Step], positions: int):
        """wanted: what a latent of each level of scale asks for, as of `dealing.by_level`.

        steps: of the walk; positions: of the latents.
        """
        self._wanted, self._shares = wanted, dealing.shares(steps)
        self._left = torch.full((1, 1), dealing.ROOM * positions, device=wanted.device)

    def deal(self, group: Group) -> torch.Tensor:
        """Which latents of the next group get integers, bool (N, P, C)."""
        log_scale = group.log_scale.detach().flatten(1)  # (N, P * C)
        order = torch.argsort(log_scale, dim=1, descending=True, stable=True)
        asked = self._wanted[scales.level_of(log_scale.gather(1, order)).clamp_min(0).long()]
        share = self._shares[group.step.number]
        room = self._left * share.numerator // share.denominator
        gets = (asked > 0) & (asked.cumsum(1) <= room)
        self._left = self._left - (asked * gets).sum(1, keepdim=True)
        return torch.zeros_like(gets).scatter(1, order, gets).view_as(group.log_scale)
