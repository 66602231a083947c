"""The loss of training, rate plus distortion, and its measurement on whole images."""

import dataclasses
import math
import statistics

import numpy as np
import torch
from torch import nn

import quantize
from coding.config import ModelConfig
from coding.modes import HIGHEST_RATE, TUNES, Mode
from model import AnalysisTransform, SynthesisTransform
from networks import errors
from networks.entropy_model import EntropyModel, untrained
from training.settings import MULTIPLE


@dataclasses.dataclass(frozen=True)
class Networks:
    """What is trained: the two transforms and the entropy model of their latents, of one configuration."""

    analysis: AnalysisTransform
    synthesis: SynthesisTransform
    entropy_model: EntropyModel

    @classmethod
    def untrained(cls, config: ModelConfig) -> "Networks":
        """With random weights."""
        return cls(AnalysisTransform(config), SynthesisTransform(config), untrained(config))

    @property
    def config(self) -> ModelConfig:
        """That of all three."""
        return self.analysis.config


class RateDistortion(nn.Module):
    """The networks as one module that gives the terms of the loss.

    Each sample has a rate t of its mode, with lambda times 4^t: at fine quantization distortion falls as
    4^-t. Terms are divided by 2^t, about as the bits grow, so that all rates weigh alike. In hard and soft
    mode t is 0.
    """

    def __init__(self, networks: Networks, part: str = "all", tune: str = TUNES[0]):
        """
        networks: that are trained
        part: of them that is trained, of settings.PARTS
        tune: what the errors are those for, of modes.TUNES
        """
        super().__init__()
        self.tune, self.error = tune, errors.BY_TUNE[tune]
        self.analysis, self.synthesis = networks.analysis, networks.synthesis
        self.entropy_model, self.part = networks.entropy_model, part
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(part == "all" or belongs_to(name, part))

    @property
    def config(self) -> ModelConfig:
        """That of the networks."""
        return self.analysis.config

    def rate_and_distortion(
        self, x: torch.Tensor, t: torch.Tensor, noise: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What coding the pixels costs, and what it does to them.

        x: pixels (N, 3, H, W) in [0, 1], H and W multiples of 64
        t: rates (N,)
        noise: the rate is that of latents with noise, as in training, and not of rounded ones

        Returns bits per pixel (N,), errors (N,) in units of the mean squared error, and the mean square of
        what the range of the latents clips, in quantization steps.
        """
        policies = quantize.policies(self.config.mode.latents, self.config.B)

        def rounding(distance, mean, log_scale):
            return quantize.straight_through(policies.round(distance, mean, log_scale), distance)

        trained = t.clamp_max(HIGHEST_RATE)
        unclipped = self.analysis(x, trained)  # (N, K, H/16, W/16)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 does not hold the integers of a latent
            y = self.analysis.clip(unclipped)
            z = self.analysis.hyper_latents(y)
            bits_z, bits_y, quantized = self.entropy_model.quantize(y, z, t, rounding, noise, self.tune)
            # A clipped latent gets no gradient from rate and distortion; this term leads it back.
            clipped = (unclipped - y).square().mean()
        if self.part == "entropy":
            # The entropy model changes what latents cost, and hardly what they are.
            quantized = quantized.detach()
        decoded = self.synthesis(quantized, trained)
        if not noise:
            decoded = decoded.clamp(0, 1)
        return (bits_z + bits_y) / x[0, 0].numel(), self.error(decoded, x), clipped

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The terms of the loss for pixels x (N, 3, H, W) in [0, 1], each at a random rate of the mode.

        Returns bits per pixel of the noisy latents, the error of the rounded ones, and what is clipped, see
        `rate_and_distortion`, all scalars.
        """
        mode = self.config.mode
        numbers = torch.randint(mode.undetailed.start, mode.undetailed.stop, (len(x),), device=x.device)
        t = mode.rate(numbers)
        # Through noise the rate's gradients reach the analysis; without it the rate is of what is coded.
        noise = self.part in ("all", "encoder")
        bpp, error, clipped = self.rate_and_distortion(x, t, noise)
        return (bpp * 2**-t).mean(), (error * 2**t).mean(), clipped


def belongs_to(parameter: str, part: str) -> bool:
    """Whether a parameter of RateDistortion, such as "analysis.neck.weight", is of a part.

    part: "encoder", "decoder" or "entropy"; a decoder has the entropy model too
    """
    module, name = parameter.split(".")[:2]
    if part == "encoder":
        return module == "analysis" and name != "hyper"
    return module == "entropy_model" or name == "hyper" or (part == "decoder" and module == "synthesis")


def distortion(mse, lambda_: float):
    """The second term of the loss, in bits per pixel, of a squared error (float or tensor) of pixels."""
    return lambda_ * 255**2 * mse


def psnr(mse: float) -> float:
    """PSNR in dB of a mean squared error of pixels in [0, 1]."""
    return -10 * math.log10(mse)


def to_tensor(image: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """Pixels (1, 3, H, W) in [0, 1] of an image uint8 (H, W, 3), cut to multiples of MULTIPLE."""
    height, width = (side // MULTIPLE * MULTIPLE for side in image.shape[:2])
    return torch.from_numpy(image[:height, :width].copy()).to(device).permute(2, 0, 1)[None].float() / 255


def evaluate(
    rate_distortion: RateDistortion,
    images: list[np.ndarray],
    device: torch.device | str = "cpu",
) -> tuple[float, float]:
    """Mean bits per pixel and PSNR in dB of images uint8 (H, W, 3), with rounded latents and clipped pixels.

    In hard and soft mode the PSNR is the mean of the images'. In variable mode it is that of the mean squared
    error over images and rates, weighted as in training, as are the bits.
    """
    return means(rate_distortion.config.mode, measure(rate_distortion, images, device))


def measure(
    rate_distortion: RateDistortion,
    images: list[np.ndarray],
    device: torch.device | str = "cpu",
) -> list[tuple[float, float]]:
    """Weighted bits per pixel and squared error of each image at each whole rate, of which `means` are."""
    return [
        (bpp * 2**-rate, mse * 2**rate)
        for rate in whole_rates(rate_distortion.config.mode)
        for bpp, mse in at_rate(rate_distortion, images, rate, device)
    ]


def means(mode: Mode, measured: list[tuple[float, float]]) -> tuple[float, float]:
    """The means of what `measure` gave, see `evaluate`."""
    bpps, mses = zip(*measured)
    if not mode.is_fixed:
        mses = [statistics.mean(mses)]
    return statistics.mean(bpps), statistics.mean(psnr(mse) for mse in mses)


@torch.inference_mode()
def at_rate(
    rate_distortion: RateDistortion,
    images: list[np.ndarray],
    rate: float,
    device: torch.device | str = "cpu",
) -> list[tuple[float, float]]:
    """Bits per pixel and mean squared error of each image, as of `evaluate`, at one rate t."""
    rate_distortion.eval()
    t, found = torch.tensor([rate], dtype=torch.float32, device=device), []
    for image in images:
        bpp, mse, _ = rate_distortion.rate_and_distortion(to_tensor(image, device), t, noise=False)
        found.append((bpp.item(), max(mse.item(), 1e-10)))
    return found


def whole_rates(mode: Mode) -> range:
    """The whole numbers among the rates of a mode, at which it is validated."""
    lowest, highest = mode.rate(mode.undetailed[0]), mode.rate(mode.undetailed[-1])
    return range(math.ceil(lowest), math.floor(highest) + 1)
