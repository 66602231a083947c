"""Where training starts: a linear codec that works before the first step, or a trained pair.

`first_model` chooses among the starts. `from_principal_components` gives both transforms' linear paths the
best linear code of 16x16 patches. `from_pair` takes a trained pair as it is; `coarsen` prepares one of soft
mode for the five levels of hard mode.
"""

import dataclasses
import os

import torch
from torch.nn import functional as F

from coding.config import ModelConfig
from coding.errors import UserError
from coding.tiles import STRIDE
from engines.pair import Decoder, Encoder
from model import AnalysisTransform, default_config
from networks.entropy_model import network_of
from training.loss import Networks, RateDistortion
from training.settings import Settings

BATCH_NORM_EPSILON = 1e-5  # of torchvision's


def first_model(settings: Settings, pixels: torch.Tensor) -> RateDistortion:
    """The RateDistortion before the first step; pixels: crops (N, 3, H, W) in [0, 1] that it is fitted to.

    Raises UserError where `settings` start from a model of another mode, or from weights that cannot be had,
    and model.ModelError for files that hold no model.
    """
    start = from_pair if settings.start_from else from_principal_components
    return RateDistortion(start(settings, pixels), settings.part, settings.tune)


def from_principal_components(settings: Settings, pixels: torch.Tensor) -> Networks:
    """Untrained networks whose linear paths are a working codec; see `first_model`."""
    config, step = default_config(settings.quantize_mode), fine_step(settings.lambda_)
    networks = Networks.untrained(config)
    if settings.init == "imagenet":
        load_imagenet(networks.analysis)
    set_principal_components(networks, pixels, step)
    networks.analysis.eval()
    set_scale(networks, pixels)
    return coarsen(networks, config, pixels, step=1) if settings.quantize_mode == "hard" else networks


def from_pair(settings: Settings, pixels: torch.Tensor) -> Networks:
    """The networks of the trained pair in `settings.start_from`, prepared for the mode; see `first_model`."""
    mode, config = settings.quantize_mode, default_config(settings.quantize_mode)
    encoder = Encoder.load(os.path.join(settings.start_from, "encoder.model"), engine="torch")
    decoder = Decoder.load(os.path.join(settings.start_from, "decoder.model"), engine="torch")
    entropy_model = network_of(encoder.coder.entropy_model, encoder.config.entropy_widths)
    networks = Networks(encoder.transform.module, decoder.transform.module, entropy_model)
    if encoder.config.mode.name == mode:
        return networks
    if (encoder.config.mode.name, mode) != ("soft", "hard") or settings.part == "encoder":
        raise UserError(f"{settings.start_from} holds a model for --quantize_mode={encoder.config.mode.name}")
    # Distortion at fine quantization is in proportion to the square of the step.
    return coarsen(networks, config, pixels, step=(encoder.lambda_ / settings.lambda_) ** 0.5)


def fine_step(lambda_: float) -> float:
    """The quantization step, in [0, 1] units, at which rate and distortion trade at lambda."""
    return (4e-4 / lambda_) ** 0.5


def load_imagenet(analysis: AnalysisTransform):
    """Load torchvision's ImageNet weights of ResNet18 into the trunk; raises UserError if there are none."""
    from torchvision.models import ResNet18_Weights

    try:
        weights = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True)
    except (OSError, RuntimeError) as error:  # no network, or a hash that does not match
        raise UserError(
            f"the ImageNet weights could not be downloaded ({error}); use --init random"
        ) from error
    analysis.load_state_dict(fold_batch_norms(weights), strict=False)


def fold_batch_norms(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the trunk of torchvision's ResNet18, with batch norms as parts of the convolutions."""
    folded = {}
    for name in weights:
        if not name.endswith("running_var") or name.startswith("layer4"):
            continue
        norm = name.removesuffix(".running_var")  # such as layer2.0.bn1, and layer2.0.downsample.1
        convolution = norm.replace("bn", "conv").replace("downsample.1", "downsample.0")
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON).sqrt()
        ours = convolution.removesuffix(".0")
        folded[f"{ours}.weight"] = weights[f"{convolution}.weight"] * scale.view(-1, 1, 1, 1)
        folded[f"{ours}.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return folded


def patches_of(pixels: torch.Tensor) -> torch.Tensor:
    """The patches (P, 768) around zero that the linear paths see, of pixels (N, 3, H, W) in [0, 1]."""
    patches = F.unfold(pixels - 0.5, STRIDE, stride=STRIDE)  # (N, 768, L)
    return patches.transpose(1, 2).reshape(-1, 3 * STRIDE**2)  # (N * L, 768)


def principal_directions(patches: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean (768,) of patches (P, 768), and orthonormal directions (768, count), by falling variance."""
    mean = patches.mean(0)
    _, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean))
    return mean, vectors.flip(1)[:, :count]


@torch.no_grad()
def set_principal_components(networks: Networks, pixels: torch.Tensor, step: float):
    """Set the linear paths to the principal components of RGB patches.

    networks: whose transforms are changed
    pixels: (N, 3, H, W) in [0, 1]
    step: quantization step of the orthonormal components, in [0, 1] units
    """
    analysis, synthesis = networks.analysis.linear, networks.synthesis.linear
    mean, basis = principal_directions(patches_of(pixels).double(), networks.config.channels)
    analysis.weight.copy_((basis.T / step).view_as(analysis.weight))
    analysis.bias.copy_(-basis.T @ mean / step)
    synthesis.weight.copy_((basis * step).view_as(synthesis.weight))
    synthesis.bias.copy_(mean)


@torch.no_grad()
def latents(analysis: AnalysisTransform, pixels: torch.Tensor, batch_size: int = 8) -> torch.Tensor:
    """Latents at t = 0, (K, N * H/16 * W/16), of pixels (N, 3, H, W), `batch_size` of them at a time."""
    t = torch.zeros(1)
    y = torch.cat([analysis(part, t) for part in pixels.split(batch_size)])
    return y.transpose(0, 1).flatten(1)


@torch.no_grad()
def set_scale(networks: Networks, pixels: torch.Tensor):
    """Tell the synthesis and the entropy model the spread of each component on pixels (N, 3, H, W)."""
    networks.synthesis.scale.copy_(latents(networks.analysis, pixels).std(1).clamp_min(0.1))
    networks.entropy_model.spread[0] = networks.synthesis.scale.log2()


def slices_of(components: int) -> tuple[int, ...]:
    """Sizes of the slices that the entropy model codes some components of hard mode in, coarse ones first."""
    first = max(1, components // 6)
    second = min(max(1, components // 3), components - first)
    return tuple(size for size in (first, second, components - first - second) if size)


def allocate(y: torch.Tensor, base: int, room: int, most: int = 4) -> list[int]:
    """The number of digits for each component.

    y: components (K, L), in steps around zero
    base: levels of a digit
    room: digits in all
    most: digits of a component

    Greedy: whatever saves the most squared error a digit comes first. A component without digits loses all of
    its square, one with digits what they clip and what they round.
    """
    errors = digit_errors(y, base, most)
    counts = [0] * len(errors)
    while room:
        savings = [
            ((error[count] - error[count + more]) / more, component, more)
            for component, (error, count) in enumerate(zip(errors, counts))
            for more in range(1, min(most - count, room) + 1)
        ]
        _, component, more = max(savings)
        counts[component] += more
        room -= more
    return counts


def digit_errors(y: torch.Tensor, base: int, most: int) -> list[list[float]]:
    """Squared errors [component][digits] of 0 to `most` digits of `base` levels for components y (K, L)."""
    errors = [y.square().mean(1)]
    for count in range(1, most + 1):
        limit = base**count / 2
        errors.append((y - y.clamp(-limit, limit)).square().mean(1) + 1 / 12)
    return torch.stack(errors, 1).tolist()


@torch.no_grad()
def coarsen(networks: Networks, config: ModelConfig, pixels: torch.Tensor, step: float) -> Networks:
    """Networks with coarser steps and digits that fit them.

    networks: to start from
    config: of the mode of the result; its digits and slices are replaced
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
    config = dataclasses.replace(config, digits=digits, slices=slices_of(len(digits)))
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
