"""Networks of one mode to begin another one with.

    variable mode -> fix_rate -> soft or hard mode, which have one rate and fewer components

What they know is kept, but for components that the new mode has no room for.
"""

import dataclasses
import re

import torch

from coding.config import ModelConfig
from coding.errors import UserError
from model import AnalysisTransform
from training.digits import share
from training.loss import Networks


@torch.no_grad()
def latents(
    analysis: AnalysisTransform, pixels: torch.Tensor, t: float = 0.0, batch_size: int = 8
) -> torch.Tensor:
    """Latents at rate t, (K, N * H/16 * W/16), of pixels (N, 3, H, W), `batch_size` of them at a time."""
    y = torch.cat([analysis(part, torch.tensor([t])) for part in pixels.split(batch_size)])
    return y.transpose(0, 1).flatten(1)


# What is a polynomial of the rate in the networks, (3, C) or (2, 3, C).
_POLYNOMIALS = re.compile(r"(^|\.)(gain|coefficients|spread|z_mean|z_log_scale|rate1|rate2\.\d+)$")


@torch.no_grad()
def fix_rate(networks: Networks, config: ModelConfig, pixels: torch.Tensor, t: float) -> Networks:
    """Networks of one rate that do what those of variable mode do at it with the coarser components.

    networks: of variable mode, to start from
    config: of hard or soft mode; the result has as many slices, coarse ones first, and in soft mode as many
    integers
    pixels: (N, 3, H, W) in [0, 1] to measure the components on
    t: the rate

    Which components of soft mode share an integer is decided by `share`. Raises UserError where there is no
    room for all, or where variable mode has no such rate.
    """
    mode = networks.config.mode
    lowest, highest = mode.rate(mode.undetailed[0]), mode.rate(mode.undetailed[-1])
    if not lowest <= t <= highest:
        raise UserError(f"--lambda is for a rate of {t:.2f}; variable mode has {lowest:.2f} to {highest:.2f}")
    slices = networks.config.slices[: len(config.slices)]
    y = latents(networks.analysis, pixels, t)[: sum(slices)]
    digits = (1,) * len(y)
    if config.quantize_mode == "soft":  # hard mode deals its integers picture by picture
        digits = share(y, config.B, room=sum(config.digits))
    config = dataclasses.replace(
        networks.config, quantize_mode=config.quantize_mode, slices=slices, digits=digits
    )
    fixed = Networks.untrained(config)
    for name in "analysis", "synthesis", "entropy_model":
        new, state = getattr(fixed, name), getattr(networks, name).state_dict()
        new.load_state_dict(
            {
                key: _fixed(key, state[key], t)[tuple(map(slice, value.shape))]
                for key, value in new.state_dict().items()
            }
        )
    return fixed


def _fixed(name, weight, t):
    """A weight that gives at t = 0 what this one gives at t, whose step becomes a part of the gain."""
    if not _POLYNOMIALS.search(name):
        return weight
    fixed = torch.zeros_like(weight)
    fixed[..., 0, :] = weight[..., 0, :] + weight[..., 1, :] * t + weight[..., 2, :] * t**2
    if name == "gain":
        fixed[0] += t
    return fixed
