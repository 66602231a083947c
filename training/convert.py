"""Networks of one mode to begin another one with.

    variable mode -> fix_rate -> soft mode, which has one rate and fewer components
    soft mode     -> coarsen  -> hard mode, which has coarser steps and again fewer components

What they know is kept, but for components that the new mode has no room for.
"""

import dataclasses
import re

import torch

from coding.config import ModelConfig
from coding.errors import UserError
from model import AnalysisTransform
from training.digits import allocate, share
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
    """Networks of soft mode that do what those of variable mode do at one rate with the coarser components.

    networks: of variable mode, to start from
    config: of soft mode; the result has as many slices, coarse ones first, and as many integers
    pixels: (N, 3, H, W) in [0, 1] to measure the components on
    t: the rate

    Which components share an integer is decided by `share`. Raises UserError where there is no room for all,
    or where variable mode has no such rate.
    """
    mode = networks.config.mode
    lowest, highest = mode.rate(mode.rates[0]), mode.rate(mode.rates[-1])
    if not lowest <= t <= highest:
        raise UserError(f"--lambda is for a rate of {t:.2f}; variable mode has {lowest:.2f} to {highest:.2f}")
    slices = networks.config.slices[: len(config.slices)]
    y = latents(networks.analysis, pixels, t)[: sum(slices)]
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


def slices_of(components: int) -> tuple[int, ...]:
    """Sizes of the slices that the entropy model codes some components of hard mode in, coarse ones first."""
    first = max(1, components // 6)
    second = min(max(1, components // 3), components - first)
    return tuple(size for size in (first, second, components - first - second) if size)


@torch.no_grad()
def coarsen(networks: Networks, config: ModelConfig, pixels: torch.Tensor, step: float) -> Networks:
    """Networks with coarser steps and digits that fit them.

    networks: to start from
    config: of the mode of the result, which has as many integers
    pixels: (N, 3, H, W) in [0, 1] to measure the components on
    step: the new quantization step in units of the old

    The result has the weights of what is given, in the new units, for the components that get some of the
    digits of `config` from `allocate`; its entropy model knows their spread and nothing else.
    """
    y = latents(networks.analysis, pixels)
    mean = y.mean(1)
    counts = allocate((y - mean[:, None]) / step, base=2**config.B + 1, room=sum(config.digits))
    keep = [component for component in y.var(1).argsort(descending=True).tolist() if counts[component]]

    digits = tuple(counts[component] for component in keep)
    config = dataclasses.replace(
        networks.config, quantize_mode=config.quantize_mode, digits=digits, slices=slices_of(len(digits))
    )
    coarse = Networks.untrained(config)
    coarse.analysis.load_state_dict(_coarse_analysis(networks.analysis, keep, mean, step), strict=False)
    coarse.synthesis.load_state_dict(_coarse_synthesis(networks.synthesis, keep, mean, step))
    coarse.entropy_model.spread[0] = coarse.synthesis.scale.log2()
    return coarse


def _coarse_analysis(analysis, keep, mean, step):
    """The weights of an analysis transform for the components `keep`, less their mean (K,), in new steps.

    The gain is in the weights then.
    """
    state = _without_hyper(analysis)
    factor = torch.exp2(state.pop("gain")[0][keep]) / step
    for layer in "neck", "linear":
        state[f"{layer}.weight"] = state[f"{layer}.weight"][keep] * factor.view(-1, 1, 1, 1)
        state[f"{layer}.bias"] = state[f"{layer}.bias"][keep] * factor
    state["linear.bias"] = state["linear.bias"] - mean[keep] / step
    return state


def _coarse_synthesis(synthesis, keep, mean, step):
    """The weights of a synthesis transform for what `_coarse_analysis` gives."""
    state, neck = synthesis.state_dict(), "stages.0.enter"
    unit = torch.exp2(-state["gain"][0])  # what a quantization step is worth, (K,)
    # The mean of every component, also of those that are gone, moves into the biases.
    for layer, level in (neck, mean * unit / synthesis.scale), ("linear", mean * unit):
        state[f"{layer}.bias"] = state[f"{layer}.bias"] + state[f"{layer}.weight"].flatten(1) @ level
        state[f"{layer}.weight"] = state[f"{layer}.weight"][:, keep]
    new_unit = unit[keep] * step
    state["linear.weight"] = state["linear.weight"] * new_unit.view(1, -1, 1, 1)
    state["scale"] = state["scale"][keep] / new_unit
    state["gain"] = torch.zeros(3, len(keep))
    return state


def _without_hyper(analysis):
    """The state of an analysis transform but for the layers of z, which other components make useless."""
    return {name: t for name, t in analysis.state_dict().items() if not name.startswith("hyper.")}
