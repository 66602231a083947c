"""Where training starts: a linear codec that works before the first step, or a trained pair.

`first_model` chooses among the starts. `from_principal_components` gives both transforms' linear paths the
best linear code of 16x16 patches. `from_pair` takes a trained pair as it is; `fix_rate` prepares one of
variable mode for soft and hard mode.
"""

import math
import os

import torch
from torch.nn import functional as F

from coding.errors import UserError
from coding.tiles import STRIDE
from engines.pair import Decoder, Encoder
from model import AnalysisTransform, default_config
from networks.entropy_model import network_of
from training.convert import fix_rate, latents
from training.loss import Networks, RateDistortion
from training.settings import Settings

BATCH_NORM_EPSILON = 1e-5  # of torchvision's


def first_model(settings: Settings, pixels: torch.Tensor) -> RateDistortion:
    """The RateDistortion before the first step; pixels: crops (N, 3, H, W) in [0, 1] that it is fitted to.

    Raises UserError where `settings` start from a model that cannot become one of the mode, or from weights
    that cannot be had, and model.ModelError for files that hold no model.
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
    return networks


def from_pair(settings: Settings, pixels: torch.Tensor) -> Networks:
    """The networks of the trained pair in `settings.start_from`, prepared for the mode; see `first_model`."""
    mode, config = settings.quantize_mode, default_config(settings.quantize_mode)
    networks, lambda_ = networks_of_pair(settings.start_from)
    found = networks.config.mode.name
    if found == mode:
        return networks
    if found == "variable" and settings.part != "encoder":
        # Distortion at fine quantization is in proportion to the square of the step.
        t = 0.5 * math.log2(settings.lambda_ / lambda_)
        return fix_rate(networks, config, pixels, t)
    why = ", and --part=encoder keeps its decoder" if settings.part == "encoder" else ""
    raise UserError(f"{settings.start_from} holds a model for --quantize_mode={found}{why}")


def networks_of_pair(folder: str, encoder_name: str = "encoder.model") -> tuple[Networks, float]:
    """The networks of the trained pair in a folder, and the lambda of its training.

    encoder_name: the encoder's file; raises model_file.ModelError
    """
    encoder = Encoder.load(os.path.join(folder, encoder_name), engine="torch")
    decoder = Decoder.load(os.path.join(folder, "decoder.model"), engine="torch")
    entropy_model = network_of(encoder.coder.entropy_model, encoder.config)
    return Networks(encoder.transform.module, decoder.transform.module, entropy_model), encoder.lambda_


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
def set_scale(networks: Networks, pixels: torch.Tensor):
    """Tell the synthesis and the entropy model the spread of each component on pixels (N, 3, H, W)."""
    networks.synthesis.scale.copy_(latents(networks.analysis, pixels).std(1).clamp_min(0.1))
    networks.entropy_model.spread[0] = networks.synthesis.scale.log2()
