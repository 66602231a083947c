"""The autoencoders: a ResNet18 analysis transform and its mirror, and their `.model` files.

    pixels (N, 3, H, W) in [0, 1] -> Encoder -> latent f (N, 32, H/16, W/16) -> Decoder -> pixels

H and W are multiples of 16 here; `codec.py` pads and crops. Both transforms are the sum of a linear
path, which starts from principal components and is a working codec by itself, and a residual
network, whose last layer starts at zero. A model of hard and soft mode is this and the entropy model of
`context.py`; one of variable mode has more components and a rate. Models that an earlier version made for
hard and soft mode have no entropy model: their channels are coded each for itself.
"""
import dataclasses
import hashlib
import warnings

import torch
from torch import nn
from torch.nn import functional as F

import cli
import exact
import latent_coder
import quantize
from context import ContextModel

STRIDE = 16
FORMAT = "autocompressor.model.1"
# Weight of the distortion in the loss, in bits per pixel for a squared error of one gray level, that
# each mode is trained with unless told otherwise.
LAMBDA = {"hard": 0.0028, "soft": 0.0067, "variable": 0.0067}


class ModelError(ValueError):
    """A `.model` file that cannot be used; the message is one line for the user."""


def _are_counts(values, most):
    return len(values) >= 1 and all(type(n) is int and 1 <= n <= most for n in values)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What must be known before weights can be loaded.

    quantize_mode: "hard" or "soft", in a VariableConfig "variable"; B: bits of the quantiser; digits: for
    each of K components that the networks exchange, the number of channels of f that carry it, see
    `quantize.split_digits`; widths: channels of the trunk at strides 4, 8 and 16. This class itself is that of
    models without an entropy model. Raises ValueError for what cannot be meant, so that a file cannot ask for
    the memory of a million channels.
    """
    quantize_mode: str
    B: int
    digits: tuple = (1,) * 32
    widths: tuple = (64, 128, 256)

    def __post_init__(self):
        if self.B != quantize.BITS.get(self.quantize_mode):
            raise ValueError("B is not that of the mode")
        if len(self.digits) > 1024 or not _are_counts(self.digits, 4):
            raise ValueError("digits out of range")
        if len(self.widths) != 3 or not _are_counts(self.widths, 1024):
            raise ValueError("widths out of range")

    @property
    def latent_channels(self):
        """Channels of f."""
        return sum(self.digits)


@dataclasses.dataclass(frozen=True)
class ContextConfig(ModelConfig):
    """A ModelConfig with an entropy model; slices: components that are coded together, all K in all, coarse ones
    first; entropy_widths: channels of z, of the features from it, and of the layers that give mean and scale."""
    slices: tuple = (5, 10, 17)
    entropy_widths: tuple = (32, 128, 160)

    def __post_init__(self):
        super().__post_init__()
        if len(self.slices) > 16 or not _are_counts(self.slices, 1024) or sum(self.slices) != len(self.digits):
            raise ValueError("slices do not cover the latent")
        if self.slices[0] > 128:  # its neighbours are summed exactly, see `exact.py`
            raise ValueError("the first slice is too large")
        if len(self.entropy_widths) != 3 or not _are_counts(self.entropy_widths, 1024):
            raise ValueError("entropy_widths out of range")

    @property
    def on_grid(self):
        """Whether latents are integers, as in hard and soft mode."""
        return self.quantize_mode != "variable"

    @property
    def limits(self):
        """The largest magnitudes (K,) of quantised latents, in steps around zero."""
        if not self.on_grid:
            return torch.full((len(self.digits),), latent_coder.LARGEST + 1)
        return quantize.limits(self.digits, self.B)


@dataclasses.dataclass(frozen=True)
class VariableConfig(ContextConfig):
    """A ContextConfig of variable mode."""
    quantize_mode: str = "variable"
    B: int = 10
    digits: tuple = (1,) * 320
    slices: tuple = (8, 24, 64, 96, 128)
    entropy_widths: tuple = (48, 128, 160)

    def __post_init__(self):
        super().__post_init__()
        if self.quantize_mode != "variable":
            raise ValueError("not a configuration of variable mode")


class BasicBlock(nn.Module):
    """ResNet's block of two 3x3 convolutions, with the parameter names of torchvision (He et al. 2016)."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                            nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class MirrorBlock(nn.Module):
    """The block on the way back: no batch norm, which disturbs regression, so it starts as identity."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Encoder(nn.Module):
    """Analysis transform: the ResNet18 trunk to stride 16 and a 1x1 neck, beside the linear path."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.context = None   # the ContextModel, if this is a ContextEncoder
        self.bank = None      # tensors of the `entropy.Bank` that codes this latent
        self.model_id = None  # of the decoder that was trained with this encoder
        self.lambda_ = LAMBDA[config.quantize_mode]  # of its training
        a, b, c = config.widths
        self.conv1 = nn.Conv2d(3, a, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(a)
        self.layer1 = nn.Sequential(BasicBlock(a, a), BasicBlock(a, a))
        self.layer2 = nn.Sequential(BasicBlock(a, b, 2), BasicBlock(b, b))
        self.layer3 = nn.Sequential(BasicBlock(b, c, 2), BasicBlock(c, c))
        self.neck = nn.Conv2d(c, len(config.digits), 1)
        self.linear = nn.Conv2d(3, len(config.digits), STRIDE, STRIDE)
        nn.init.zeros_(self.neck.weight)
        nn.init.zeros_(self.neck.bias)
        # The normalisation that ImageNet weights were trained with.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def steps(self, x):
        """Components in quantisation steps around zero, (N, K, H/16, W/16), of pixels (N, 3, H, W) in [0, 1]."""
        y = F.relu(self.bn1(self.conv1((x - self.mean) / self.std)))  # (N, 64, H/2, W/2)
        y = self.layer1(F.max_pool2d(y, 3, 2, 1))                     # (N, 64, H/4, W/4)
        y = self.layer3(self.layer2(y))                               # (N, 256, H/16, W/16)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has fewer digits than a latent
            linear = self.linear(x - 0.5)
        return self.neck(y) + linear

    def latent(self, y):
        """Latent f, (N, C, H/16, W/16), real and mostly in [0, 1], of components y (N, K, H/16, W/16) in steps."""
        return quantize.dequantize(quantize.to_latent(y, self.config.digits, self.config.B), self.config.B)

    def forward(self, x):
        """Latent f, (N, C, H/16, W/16), of pixels (N, 3, H, W) in [0, 1]."""
        return self.latent(self.steps(x))


class Decoder(nn.Module):
    """Synthesis transform: the trunk mirrored, PixelShuffle where it strides, beside the linear path."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.context = None   # the ContextModel, if this is a ContextDecoder
        self.bank = None      # as in the encoder
        self.model_id = None  # see `compute_id`
        a, b, c = config.widths
        self.neck = nn.Conv2d(len(config.digits), c, 1)
        self.layer3 = nn.Sequential(MirrorBlock(c), MirrorBlock(c))
        self.up3 = nn.Sequential(nn.Conv2d(c, b * 4, 1), nn.PixelShuffle(2))
        self.layer2 = nn.Sequential(MirrorBlock(b), MirrorBlock(b))
        self.up2 = nn.Sequential(nn.Conv2d(b, a * 4, 1), nn.PixelShuffle(2))
        self.layer1 = nn.Sequential(MirrorBlock(a), MirrorBlock(a))
        self.head = nn.Conv2d(a, 3 * 16, 3, 1, 1)
        self.linear = nn.Conv2d(len(config.digits), 3 * STRIDE**2, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # Spread of each component in steps: the network sees values around one.
        self.register_buffer("scale", torch.ones(len(config.digits)))

    def steps(self, f):
        """Components in steps around zero, (N, K, H/16, W/16), of latents f (N, C, H/16, W/16)."""
        return quantize.to_components(f * 2**self.config.B, self.config.digits, self.config.B)

    def from_rate(self, b, t):
        """Components y of latents b in quantisation steps at rate t, both (N, K, H/16, W/16): here there is one rate."""
        return b

    def pixels(self, y, t=None):
        """Pixels (N, 3, H, W), mostly in [0, 1], of components y (N, K, H/16, W/16) in steps."""
        x = self.neck(y / self.scale.view(1, -1, 1, 1))  # (N, 256, H/16, W/16)
        x = self.up3(self.layer3(x))                     # (N, 128, H/8, W/8)
        x = self.layer1(self.up2(self.layer2(x)))        # (N, 64, H/4, W/4)
        x = F.pixel_shuffle(self.head(x), 4)             # (N, 3, H, W)
        with torch.autocast(x.device.type, enabled=False):
            linear = F.pixel_shuffle(self.linear(y), STRIDE)
        return x + linear + 0.5

    def forward(self, f):
        """Pixels (N, 3, H, W), mostly in [0, 1], of dequantised latents f (N, C, H/16, W/16) in [0, 1]."""
        return self.pixels(self.steps(f))


class ContextEncoder(Encoder):
    """Analysis transform with the entropy model that codes its latents."""

    def __init__(self, config):
        super().__init__(config)
        channels = len(config.digits)
        hyper_channels, width, _ = config.entropy_widths
        self.hyper = nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(),
                                   nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, hyper_channels, 1))
        self.context = _context_model(config)

    def at_rate(self, y, t):
        """Latents in quantisation steps at rate t of components y, both (N, K, H/16, W/16): here there is one rate,
        and what matters is that digits can hold them once they are rounded."""
        most = self.config.limits.to(y.device).view(1, -1, 1, 1) + 0.49
        return torch.clamp(y, -most, most)

    def hyper_latent(self, b):
        """z, real, (N, Z, h/4, w/4), of latents b (N, K, h, w), h and w multiples of 4."""
        # In bands, since the latents of a large picture are the largest arrays there are.
        features = torch.cat([self.hyper[0](exact.signed_log(band)) for band in b.split(64, 2)], 2)
        return self.hyper[1:](features)


class VariableEncoder(ContextEncoder):
    """Analysis transform for all rates.

    The rate t, (N,), halves the quantisation step for each unit; each channel has a gain besides that
    depends on t (Cui et al. 2021, "Asymmetric gained deep image compression with continuous rate
    adaptation").
    """

    def __init__(self, config):
        super().__init__(config)
        self.gain = nn.Parameter(torch.zeros(3, len(config.digits)))  # log2

    def at_rate(self, y, t):
        """Latents in quantisation steps at rate t of components y, both (N, K, H/16, W/16)."""
        return y * torch.exp2(t.view(-1, 1, 1, 1) + exact.polynomial(self.gain, t))


class ContextDecoder(Decoder):
    """Synthesis transform with the entropy model of its latents."""

    def __init__(self, config):
        super().__init__(config)
        self.context = _context_model(config)


class VariableDecoder(ContextDecoder):
    """Synthesis transform for all rates: the decoder with gains, and features that the rate modulates."""

    def __init__(self, config):
        super().__init__(config)
        self.gain = nn.Parameter(torch.zeros(3, len(config.digits)))  # log2, of the encoder's gain as it is undone
        a, b, c = config.widths
        self.modulation = nn.ParameterList(torch.zeros(2, 3, n) for n in (c, b, a, a))

    def from_rate(self, b, t):
        """Components y of latents b in quantisation steps at rate t, both (N, K, H/16, W/16)."""
        return b * torch.exp2(-t.view(-1, 1, 1, 1) - exact.polynomial(self.gain, t))

    def _modulate(self, x, place, t):
        scale, shift = (exact.polynomial(coefficients, t) for coefficients in self.modulation[place])
        return x * (1 + scale) + shift

    def pixels(self, y, t):
        """Pixels (N, 3, H, W), mostly in [0, 1], of components y (N, K, H/16, W/16) that were coded at rate t."""
        x = self._modulate(self.neck(y / self.scale.view(1, -1, 1, 1)), 0, t)  # (N, 256, H/16, W/16)
        x = self._modulate(self.up3(self.layer3(x)), 1, t)                     # (N, 128, H/8, W/8)
        x = self._modulate(self.up2(self.layer2(x)), 2, t)                     # (N, 64, H/4, W/4)
        x = self._modulate(self.layer1(x), 3, t)
        with torch.autocast(x.device.type, enabled=False):
            linear = F.pixel_shuffle(self.linear(y), STRIDE)
        return F.pixel_shuffle(self.head(x), 4) + linear + 0.5


def _context_model(config):
    return ContextModel(config.slices, *config.entropy_widths, on_grid=config.on_grid)


def _half(state):
    return {name: t.half() if t.is_floating_point() else t for name, t in state.items()}


def compute_id(decoder):
    """Eight bytes that name a decoder: a hash over its configuration, weights (as stored) and bank."""
    digest = hashlib.sha256(repr(dataclasses.astuple(decoder.config)).encode())
    for tensors in (_half(decoder.state_dict()), decoder.bank):
        for name in sorted(tensors):
            tensor = tensors[name].cpu().contiguous()
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().astype(tensor.numpy().dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:8]


def make_config(fields):
    """The ModelConfig, ContextConfig or VariableConfig of a dict of its fields."""
    cls = VariableConfig if fields["quantize_mode"] == "variable" else ContextConfig if "slices" in fields else ModelConfig
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def coded_by(config):
    """The number of adaptive models that code the latents of a ModelConfig."""
    return latent_coder.context_count(config) if isinstance(config, ContextConfig) else config.latent_channels


def build(kind, config):
    """The "encoder" or "decoder" of a ModelConfig, untrained."""
    classes = {ModelConfig: (Encoder, Decoder), ContextConfig: (ContextEncoder, ContextDecoder),
               VariableConfig: (VariableEncoder, VariableDecoder)}
    return classes[type(config)][kind == "decoder"](config)


def save(model, path):
    """Write an Encoder or Decoder with its bank to `path`, weights in half precision."""
    content = {
        "format": FORMAT,
        "kind": "encoder" if isinstance(model, Encoder) else "decoder",
        "config": dataclasses.asdict(model.config),
        "bank": model.bank,
        "weights": _half(model.state_dict()),
    }
    if isinstance(model, Encoder):
        content["model_id"] = model.model_id.hex()
        content["lambda"] = model.lambda_
    if not all(t.isfinite().all() for t in content["weights"].values()):
        raise ModelError("a weight does not fit half precision; nothing was saved")
    with cli.replacing(path) as temporary:
        torch.save(content, temporary)


def load(path, kind, device="cpu"):
    """Read the "encoder" or "decoder" in `path`: float32, in evaluation mode, on `device`.

    Raises ModelError for anything else than such a file. No code in the file is run.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles, which are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ModelError(f"{path}: not an AutoCompressor model, or one of a later version")
        if content["kind"] != kind:
            raise ModelError(f"{path}: is the {content['kind']}, not the {kind}")
        config = make_config(content["config"])
        model = build(kind, config)
        model.load_state_dict(content["weights"])
        if not all(t.isfinite().all() for t in content["weights"].values()):
            raise ModelError(f"{path}: holds weights that are no numbers")
        bank = content["bank"]
        if bank["lowest"].dtype != torch.int32 or bank["frequencies"].dtype != torch.int16 \
                or not len(bank["lowest"]) == len(bank["frequencies"]) == coded_by(config):
            raise ModelError(f"{path}: holds no usable entropy coder")
        model.bank = bank
        if kind == "encoder":
            model.model_id = bytes.fromhex(content["model_id"])
            model.lambda_ = float(content.get("lambda", model.lambda_))
        else:
            model.model_id = compute_id(model)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or 'cannot be read'}") from error
    except Exception as error:  # torch.load and a foreign file can fail in any way
        raise ModelError(f"{path}: not an AutoCompressor model") from error
    model = model.eval().to(device, memory_format=torch.channels_last)
    if isinstance(config, ContextConfig):
        exact.freeze(model.context)
    return model
