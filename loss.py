"""The loss of training, rate plus distortion, and its measurement on whole images."""
import math

import torch
from torch import nn

import model
import quantize


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


def distortion(mse, lambda_):
    """The second term of the loss, in bits per pixel, for a squared error of pixels in [0, 1]."""
    return lambda_ * 255**2 * mse


def to_tensor(image, device="cpu"):
    """Pixels (1, 3, H, W) in [0, 1] of an image uint8 (H, W, 3), cut to multiples of 16."""
    height, width = (side // model.STRIDE * model.STRIDE for side in image.shape[:2])
    return torch.from_numpy(image[:height, :width].copy()).to(device).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
def evaluate(rate_distortion, images, device="cpu"):
    """Mean bits per pixel under the prior and mean PSNR in dB of images uint8 (H, W, 3), as rounded and clipped in use."""
    encoder, decoder, prior = rate_distortion.encoder, rate_distortion.decoder, rate_distortion.prior
    rate_distortion.eval()
    B, bpps, psnrs = encoder.config.B, [], []
    for image in images:
        x = to_tensor(image, device)
        f = quantize.dequantize(quantize.quantize(encoder(x), B), B)
        decoded = decoder(f).mul(255).round().clamp(0, 255) / 255
        bpps.append(prior.bits(decoder.steps(f)).sum().item() / (x.numel() / 3))
        psnrs.append(-10 * math.log10((decoded - x).square().mean().item()))
    return sum(bpps) / len(bpps), sum(psnrs) / len(psnrs)
