"""The loss of training, rate plus distortion, and its measurement on whole images."""

import math
import statistics

import torch
from torch import nn

import bitstream
import model
import quantize
from context import HYPER_STRIDE

MULTIPLE = model.STRIDE * HYPER_STRIDE  # what the sides of images must be multiples of in training, in pixels


def is_entropy_model(name):
    """Whether a parameter of RateDistortion belongs to the entropy model."""
    return name.split(".")[1] in ("context", "hyper")


class RateDistortion(nn.Module):
    """Encoder and decoder, which share the entropy model, as one module.

    In variable mode each sample has a rate t of its own, with lambda times 4^t: at fine quantisation distortion
    falls as 4^-t. Terms are divided by 2^t, about as the bits grow, so that all rates weigh alike. In hard and
    soft mode t is 0.
    """

    def __init__(self, encoder, decoder, entropy_only=False):
        super().__init__()
        self.encoder, self.decoder, self.entropy_only = encoder, decoder, entropy_only
        decoder.context = encoder.context
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(not entropy_only or is_entropy_model(name))

    def rate_and_distortion(self, x, t, noise=True):
        """Bits per pixel (N,) and mean squared error (N,) of pixels x (N, 3, H, W) in [0, 1] at rates t (N,).

        Third, the mean square of what the range of the latents takes away, in steps. H and W are multiples of 64.
        With noise, as in training, the rate is that of noisy latents.
        """
        context = self.encoder.context
        rounding = lambda v, mean, log_scale: quantize.straight_through(
            context.rounded(v, mean, log_scale), v
        )
        y = self.encoder.steps(x)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 does not hold the integers of a latent
            b = self.encoder.at_rate(y, t)
            z = self.encoder.hyper_latent(b)
            *bits, quantised = context.quantise(z, b, t, rounding, noise)
            # What is clipped has no other way back: neither the rate nor the distortion has a gradient there.
            clipped = (y - b).square().mean() if context.on_grid else torch.zeros((), device=x.device)
        if self.entropy_only:
            quantised = (
                quantised.detach()
            )  # the entropy model changes what latents cost, and hardly what they are
        decoded = self.decoder.pixels(self.decoder.from_rate(quantised, t), t)
        if not noise:
            decoded = decoded.clamp(0, 1)
        return sum(bits) / x[0, 0].numel(), (decoded - x).square().mean((1, 2, 3)), clipped

    def forward(self, x):
        """Terms of the loss for pixels x (N, 3, H, W) in [0, 1], in variable mode at random rates: bits per pixel of the
        noisy latent, mean squared error of the rounded one, and what is clipped as of `rate_and_distortion`."""
        t = torch.zeros(len(x), device=x.device)
        if not self.encoder.config.on_grid:
            t = bitstream.rate(torch.randint(bitstream.RATE_STEPS + 1, (len(x),), device=x.device))
        # Noise lets gradients of the rate reach the transforms; the entropy model alone sees what is coded.
        bpp, mse, clipped = self.rate_and_distortion(x, t, noise=not self.entropy_only)
        return (bpp * 2**-t).mean(), (mse * 2**t).mean(), clipped


def distortion(mse, lambda_):
    """The second term of the loss, in bits per pixel, for a squared error of pixels in [0, 1]."""
    return lambda_ * 255**2 * mse


def to_tensor(image, device="cpu"):
    """Pixels (1, 3, H, W) in [0, 1] of an image uint8 (H, W, 3), cut to multiples of MULTIPLE."""
    height, width = (side // MULTIPLE * MULTIPLE for side in image.shape[:2])
    return torch.from_numpy(image[:height, :width].copy()).to(device).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
def evaluate(rate_distortion, images, device="cpu"):
    """Mean bits per pixel and PSNR in dB of images uint8 (H, W, 3), with rounded latents and clipped pixels.

    In hard and soft mode the PSNR is the mean of the images'. In variable mode it is that of the mean squared
    error over images and rates, weighted as in training, as are the bits.
    """
    rate_distortion.eval()
    on_grid = rate_distortion.encoder.config.on_grid
    rates = (0.0,) if on_grid else (-1.0, 0.0, 1.0, 2.0)
    bpps, mses = [], []
    for image in images:
        x = to_tensor(image, device)
        for rate in rates:
            bpp, mse, _ = rate_distortion.rate_and_distortion(
                x, torch.tensor([rate], device=device), noise=False
            )
            bpps.append(bpp.item() * 2**-rate)
            mses.append(max(mse.item(), 1e-10) * 2**rate)
    if not on_grid:
        mses = [statistics.mean(mses)]
    return statistics.mean(bpps), statistics.mean(-10 * math.log10(mse) for mse in mses)
