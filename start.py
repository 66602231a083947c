"""Where training starts: a linear codec that works before the first step.

`principal_components` gives both transforms' linear paths the best linear code of 16x16 patches.
`coarsen` prepares a model for the five levels of hard mode, `widen` one of soft mode for variable mode,
`add_entropy_model` one of an earlier version for this. `load_imagenet` fills the trunk.
"""

import dataclasses

import torch

from model import STRIDE, ContextConfig, build


def load_imagenet(encoder):
    """Load torchvision's ImageNet weights of ResNet18 into the trunk; raises ValueError if there are none to be had."""
    from torchvision.models import ResNet18_Weights

    try:
        weights = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True)
    except (OSError, RuntimeError) as error:  # no network, or a hash that does not match
        raise ValueError(
            f"the ImageNet weights could not be downloaded ({error}); use --init random"
        ) from error
    trunk = {name: t for name, t in weights.items() if not name.startswith(("layer4", "fc"))}
    encoder.load_state_dict(trunk, strict=False)


@torch.no_grad()
def principal_components(encoder, decoder, pixels, step):
    """Set the linear paths to the principal components of RGB patches.

    pixels: (N, 3, H, W) in [0, 1]; step: quantisation step of the orthonormal components, in [0, 1] units.
    """
    components = len(encoder.config.digits)
    patches = torch.nn.functional.unfold(pixels - 0.5, STRIDE, stride=STRIDE)  # (N, 768, L)
    patches = patches.transpose(1, 2).reshape(-1, 3 * STRIDE**2).double()  # (N * L, 768)
    mean = patches.mean(0)
    _, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean))
    basis = vectors.flip(1)[:, :components]  # (768, K), largest variance first
    encoder.linear.weight.copy_((basis.T / step).view_as(encoder.linear.weight))
    encoder.linear.bias.copy_(-basis.T @ mean / step)
    decoder.linear.weight.copy_((basis * step).view_as(decoder.linear.weight))
    decoder.linear.bias.copy_(mean)


@torch.no_grad()
def latents(encoder, pixels, batch_size=8):
    """Components in steps, (K, N * H/16 * W/16), of pixels (N, 3, H, W)."""
    y = torch.cat([encoder.steps(part) for part in pixels.split(batch_size)])
    return y.transpose(0, 1).flatten(1)


@torch.no_grad()
def set_scale(encoder, decoder, pixels):
    """Tell the decoder's network and the entropy model the spread of each component."""
    decoder.scale.copy_(latents(encoder, pixels).std(1).clamp_min(0.1))
    encoder.context.spread[0] = decoder.scale.log2()


def slices_of(components):
    """Sizes of the slices that the entropy model codes some components of hard and soft mode in, coarse ones first."""
    first = max(1, components // 6)
    second = min(max(1, components // 3), components - first)
    return tuple(size for size in (first, second, components - first - second) if size)


def allocate(y, base, room, most=4):
    """Number of digits, 0 to `most` and `room` in all, for each of the components y (K, L), in steps.

    Greedy: whatever saves the most squared error a digit, counting what is left out or clipped and
    what is rounded, comes first.
    """
    errors = [y.square().mean(1)]
    for count in range(1, most + 1):
        limit = base**count / 2
        errors.append((y - y.clamp(-limit, limit)).square().mean(1) + 1 / 12)
    errors = torch.stack(errors, 1).tolist()  # [component][digits]
    counts = [0] * len(errors)
    while room:
        _, component, more = max(
            ((error[count] - error[count + more]) / more, component, more)
            for component, (error, count) in enumerate(zip(errors, counts))
            for more in range(1, min(most - count, room) + 1)
        )
        counts[component] += more
        room -= more
    return counts


@torch.no_grad()
def coarsen(encoder, decoder, config, pixels, step):
    """Encoder and decoder for `config.quantize_mode`, with coarser steps and digits that fit them.

    The result has the weights of what is given, in the new units, for the components that get digits
    of the latent's channels from `allocate`; its entropy model knows their spread and nothing else.
    pixels: (N, 3, H, W) to measure the components on; step: new step in units of the old.
    """
    y = latents(encoder, pixels)
    mean = y.mean(1)
    counts = allocate((y - mean[:, None]) / step, 2**config.B + 1, encoder.config.latent_channels)
    keep = [component for component in y.var(1).argsort(descending=True).tolist() if counts[component]]
    digits = [counts[component] for component in keep]

    config = dataclasses.replace(config, digits=tuple(digits), slices=slices_of(len(digits)))
    new_encoder, new_decoder = build("encoder", config), build("decoder", config)
    state = _transform(encoder)
    for layer in "neck", "linear":
        state[f"{layer}.weight"] = state[f"{layer}.weight"][keep] / step
        state[f"{layer}.bias"] = state[f"{layer}.bias"][keep] / step
    state["linear.bias"] = state["linear.bias"] - mean[keep] / step
    new_encoder.load_state_dict(state, strict=False)

    # The mean of every component, also of those that are gone, moves into the biases.
    state = _transform(decoder)
    state["neck.bias"] = state["neck.bias"] + state["neck.weight"].flatten(1) @ (mean / decoder.scale)
    state["linear.bias"] = state["linear.bias"] + state["linear.weight"].flatten(1) @ mean
    state["neck.weight"] = state["neck.weight"][:, keep]
    state["linear.weight"] = state["linear.weight"][:, keep] * step
    state["scale"] = state["scale"][keep] / step
    new_decoder.load_state_dict(state, strict=False)
    new_encoder.context.spread[0] = new_decoder.scale.log2()
    return new_encoder, new_decoder


@torch.no_grad()
def add_entropy_model(encoder, decoder, pixels):
    """Encoder and decoder with the weights of those of an earlier version, and an entropy model that knows the spread
    of their components on pixels (N, 3, H, W)."""
    config = ContextConfig(**dataclasses.asdict(encoder.config), slices=slices_of(len(encoder.config.digits)))
    new_encoder, new_decoder = build("encoder", config), build("decoder", config)
    new_encoder.load_state_dict(encoder.state_dict(), strict=False)
    new_decoder.load_state_dict(decoder.state_dict(), strict=False)
    new_encoder.context.spread[0] = latents(encoder.eval(), pixels).std(1).clamp_min(0.1).log2()
    return new_encoder, new_decoder


def _transform(module):
    """The state of an encoder or decoder without its entropy model, which other components make useless."""
    return {name: t for name, t in module.state_dict().items() if not name.startswith(("context.", "hyper."))}


@torch.no_grad()
def widen(encoder, decoder, config, pixels, step):
    """Encoder and decoder of variable mode with the weights of soft mode's, and more components.

    The further components are the principal ones of what the linear paths leave. The networks' ends start
    at zero, since what they added for few components stands in the way of more; their trunks keep what
    they know. The entropy model is told the spread of all.
    pixels: (N, 3, H, W); step: quantisation step of the further components, in [0, 1] units.
    """
    new_encoder, new_decoder = build("encoder", config), build("decoder", config)
    known = len(encoder.config.digits)
    patches = (
        torch.nn.functional.unfold(pixels - 0.5, STRIDE, stride=STRIDE)
        .transpose(1, 2)
        .reshape(-1, 3 * STRIDE**2)
    )
    analysis, synthesis = (
        encoder.linear.weight.flatten(1),
        decoder.linear.weight.flatten(1),
    )  # (K, 768), (768, K)
    coded = patches @ analysis.T + encoder.linear.bias
    left = (patches - coded @ synthesis.T - decoder.linear.bias).double()
    mean = left.mean(0)
    _, vectors = torch.linalg.eigh((left - mean).T @ (left - mean))
    basis = vectors.flip(1)[:, : len(config.digits) - known].float()  # (768, more)

    state = _transform(encoder)
    more = (basis.T - basis.T @ synthesis @ analysis) / step
    bias = -basis.T @ (synthesis @ encoder.linear.bias + decoder.linear.bias + mean.float()) / step
    state["linear.weight"] = torch.cat([analysis, more]).view_as(new_encoder.linear.weight)
    state["linear.bias"] = torch.cat([state["linear.bias"], bias])
    del state["neck.weight"], state["neck.bias"]
    new_encoder.load_state_dict(state, strict=False)

    state = _transform(decoder)
    state["linear.weight"] = torch.cat([synthesis, basis * step], 1).view_as(new_decoder.linear.weight)
    state["linear.bias"] = state["linear.bias"] + mean.float()
    state["neck.weight"] = torch.cat(
        [state["neck.weight"], torch.zeros_like(new_decoder.neck.weight[:, known:])], 1
    )
    del state["scale"], state["head.weight"], state["head.bias"]
    new_decoder.load_state_dict(state, strict=False)
    new_encoder.eval()
    set_scale(new_encoder, new_decoder, pixels)
    new_decoder.neck.weight[:, :known] *= (new_decoder.scale[:known] / decoder.scale).view(1, -1, 1, 1)
    return new_encoder, new_decoder
