"""Where training starts: a linear codec that works before the first step.

`principal_components` gives both transforms' linear paths the best linear code of 16x16 patches.
`spread` prepares a model for the five levels of hard mode. `load_imagenet` fills the trunk.
"""
import torch

from model import STRIDE


def load_imagenet(encoder):
    """Load torchvision's ImageNet weights of ResNet18 into the trunk; raises ValueError if there are none to be had."""
    from torchvision.models import ResNet18_Weights
    try:
        weights = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True)
    except (OSError, RuntimeError) as error:  # no network, or a hash that does not match
        raise ValueError(f"the ImageNet weights could not be downloaded ({error}); use --init random") from error
    trunk = {name: t for name, t in weights.items() if not name.startswith(("layer4", "fc"))}
    encoder.load_state_dict(trunk, strict=False)


@torch.no_grad()
def principal_components(encoder, decoder, pixels, step):
    """Set the linear paths to the principal components of RGB patches.

    pixels: (N, 3, H, W) in [0, 1]; step: quantisation step of the orthonormal components, in [0, 1] units.
    """
    channels = encoder.config.latent_channels
    patches = torch.nn.functional.unfold(pixels - 0.5, STRIDE, stride=STRIDE)  # (N, 768, L)
    patches = patches.transpose(1, 2).reshape(-1, 3 * STRIDE**2).double()      # (N * L, 768)
    mean = patches.mean(0)
    _, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean))
    basis = vectors.flip(1)[:, :channels]  # (768, C), largest variance first
    encoder.linear.weight.copy_((basis.T / step).view_as(encoder.linear.weight))
    encoder.linear.bias.copy_(-basis.T @ mean / step)
    decoder.linear.weight.copy_((basis * step).view_as(decoder.linear.weight))
    decoder.linear.bias.copy_(mean)


@torch.no_grad()
def latents(encoder, pixels, batch_size=8):
    """Latents in steps, (C, N * H/16 * W/16), of pixels (N, 3, H, W)."""
    y = torch.cat([encoder.steps(part) for part in pixels.split(batch_size)])
    return y.transpose(0, 1).flatten(1)


@torch.no_grad()
def set_scale(encoder, decoder, pixels):
    """Tell the decoder's network the spread of each latent channel."""
    decoder.scale.copy_(latents(encoder, pixels).std(1).clamp_min(0.1))


@torch.no_grad()
def spread(encoder, decoder, pixels, deviation=0.9):
    """Rotate the latents so that every channel has the same variance and each carries a bit of all.

    Five levels cannot hold a component that varies over a hundred steps. The best linear code for
    channels of equal noise gives component i the gain var_i^(-1/4) and spreads all over the channels
    with an orthogonal matrix (Lee and Petersen 1976, "Optimal linear coding for vector channels");
    the decoder inverts it with Wiener's attenuation of what the noise has drowned. Both are 1x1
    matrices and disappear in the weights of the layers beside them.
    pixels: (N, 3, H, W) to measure the latents on; deviation: of the result, in steps.
    """
    y = latents(encoder, pixels).double()
    mean = y.mean(1)
    variances, basis = torch.linalg.eigh(torch.cov(y))  # y - mean = basis @ components
    gains = variances.clamp_min(1e-6) ** -0.25
    gains *= deviation * (len(gains) / (gains**2 * variances).sum()).sqrt()
    power = gains**2 * variances
    attenuation = power / (power + 1 / 12)

    hadamard = torch.ones(1, 1, dtype=torch.double)
    while len(hadamard) < len(gains):
        hadamard = torch.cat([torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)])
    hadamard = hadamard[:len(gains), :len(gains)] / len(gains) ** 0.5
    forward = hadamard @ torch.diag(gains) @ basis.T                # z = forward @ (y - mean)
    backward = basis @ torch.diag(attenuation / gains) @ hadamard.T  # y ~ backward @ z + mean

    for layer in encoder.neck, encoder.linear:
        layer.weight.copy_(torch.einsum("ij,jcab->icab", forward, layer.weight.double()))
        layer.bias.copy_(forward @ layer.bias.double())
    encoder.linear.bias.sub_(forward @ mean)

    scale = decoder.scale.double()
    for layer, scaled in (decoder.neck, backward / scale[:, None]), (decoder.linear, backward):
        offset = mean / scale if layer is decoder.neck else mean
        weight = layer.weight.double().flatten(1)  # (outputs, C)
        layer.bias.add_(weight @ offset)
        layer.weight.copy_((weight @ scaled).view_as(layer.weight))
    decoder.scale.fill_(1)
