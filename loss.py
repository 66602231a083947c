"""The loss of training, rate plus distortion, and its measurement on whole images."""
import math

import torch
from torch import nn

import bitstream
import model
import quantize
from context import HYPER_STRIDE


class RateDistortion(nn.Module):
    """Encoder, decoder and prior as one module whose forward pass gives the terms of the loss."""

    def __init__(self, encoder, decoder, prior):
        super().__init__()
        self.encoder, self.decoder, self.prior = encoder, decoder, prior

    def forward(self, x):
        """Terms of the loss for pixels x (N, 3, H, W) in [0, 1]: bits per pixel of the noisy latent, mean
        squared error of the rounded one, and the mean square of what clipping takes away, in steps."""
        config = self.encoder.config
        y = self.encoder.steps(x)  # (N, K, H/16, W/16), in steps: the noise is one wide
        bpp = self.prior.bits(quantize.add_noise(y, B=0)).sum() / (x.numel() / 3)
        rounded = quantize.round_straight_through(self.encoder.latent(y), config.B)
        mse = (self.decoder(rounded) - x).square().mean()
        # Neither of the two leads back a component that is far outside the range of its digits.
        limit = ((2**config.B + 1) ** torch.tensor(config.digits, device=x.device) / 2).view(1, -1, 1, 1)
        clipped = (y - y.clamp(-limit, limit)).square().mean()
        return bpp, mse, clipped


def is_entropy_model(name):
    """Whether a parameter of VariableRateDistortion belongs to the entropy model."""
    return name.split(".")[1] in ("context", "hyper")


class VariableRateDistortion(nn.Module):
    """Encoder and decoder of variable mode, which share the entropy model, as one module.

    Each sample has a rate t of its own, with lambda times 4^t: at fine quantisation distortion falls as
    4^-t. Terms are divided by 2^t, about as the bits grow, so that all rates weigh alike.
    """

    def __init__(self, encoder, decoder, entropy_only=False):
        super().__init__()
        self.encoder, self.decoder, self.entropy_only = encoder, decoder, entropy_only
        decoder.context = encoder.context
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(not entropy_only or is_entropy_model(name))

    def rate_and_distortion(self, x, t, noise=True):
        """Bits per pixel (N,) and mean squared error (N,) of pixels x (N, 3, H, W) in [0, 1] at rates t (N,).

        H and W are multiples of 64. With noise, as in training, the rate is that of noisy latents.
        """
        rounding = lambda v, log_scale: quantize.straight_through(quantize.round_to_zero(v, log_scale), v)
        y = self.encoder.steps(x)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 does not hold the integers of a latent
            b = self.encoder.at_rate(y, t)
            z = self.encoder.hyper_latent(b)
            *bits, quantised = self.encoder.context.quantise(z, b, t, rounding, noise)
        if self.entropy_only:
            quantised = quantised.detach()  # the entropy model changes what latents cost, and hardly what they are
        decoded = self.decoder.pixels(self.decoder.from_rate(quantised, t), t)
        if not noise:
            decoded = decoded.clamp(0, 1)
        return sum(bits) / x[0, 0].numel(), (decoded - x).square().mean((1, 2, 3))

    def forward(self, x):
        """Terms as of RateDistortion.forward, at random rates; nothing is clipped."""
        t = bitstream.rate(torch.randint(bitstream.RATE_STEPS + 1, (len(x),), device=x.device))
        # Noise lets gradients of the rate reach the transforms; the entropy model alone sees what is coded.
        bpp, mse = self.rate_and_distortion(x, t, noise=not self.entropy_only)
        return (bpp * 2**-t).mean(), (mse * 2**t).mean(), torch.zeros((), device=x.device)


def distortion(mse, lambda_):
    """The second term of the loss, in bits per pixel, for a squared error of pixels in [0, 1]."""
    return lambda_ * 255**2 * mse


def to_tensor(image, device="cpu", multiple=model.STRIDE):
    """Pixels (1, 3, H, W) in [0, 1] of an image uint8 (H, W, 3), cut to multiples of `multiple`."""
    height, width = (side // multiple * multiple for side in image.shape[:2])
    return torch.from_numpy(image[:height, :width].copy()).to(device).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
def evaluate(rate_distortion, images, device="cpu"):
    """Mean bits per pixel under the prior and mean PSNR in dB of images uint8 (H, W, 3), as rounded and clipped in use."""
    if isinstance(rate_distortion, VariableRateDistortion):
        return evaluate_variable(rate_distortion, images, device)
    encoder, decoder, prior = rate_distortion.encoder, rate_distortion.decoder, rate_distortion.prior
    rate_distortion.eval()
    B, bpps, psnrs = encoder.config.B, [], []
    for image in images:
        x = to_tensor(image, device)
        f = quantize.dequantize(quantize.quantize(encoder(x), B), B)
        decoded = decoder(f).mul(255).round().clamp(0, 255) / 255
        bpps.append(prior.bits(decoder.steps(f)).sum().item() / (x.numel() / 3))
        psnrs.append(-10 * math.log10(max((decoded - x).square().mean().item(), 1e-10)))  # 100 dB at most
    return sum(bpps) / len(bpps), sum(psnrs) / len(psnrs)


@torch.inference_mode()
def evaluate_variable(rate_distortion, images, device="cpu", rates=(-1.0, 0.0, 1.0, 2.0)):
    """Mean bits per pixel, and PSNR in dB of the mean squared error, over `rates` and images, weighted as in training."""
    rate_distortion.eval()
    terms = []
    for image in images:
        x = to_tensor(image, device, multiple=model.STRIDE * HYPER_STRIDE)
        for rate in rates:
            bpp, mse = rate_distortion.rate_and_distortion(x, torch.tensor([rate], device=device), noise=False)
            terms.append((bpp.item() * 2**-rate, mse.item() * 2**rate))
    bpp, mse = (sum(term) / len(terms) for term in zip(*terms))
    return bpp, -10 * math.log10(mse)
