"""The autoencoder: a ResNet18 analysis transform and its mirror, their configuration, and their `.model`
files.

    pixels (N, 3, H, W) in [0, 1] -> AnalysisTransform -> latents y (N, K, H/16, W/16)
                                  -> scaled to quantization steps at the rate t, quantized, coded
                                  -> SynthesisTransform, which knows t -> pixels

H and W are multiples of 16 here; `codec.py` pads and crops. Both transforms are the sum of a linear
path, which starts from principal components and is a working codec by itself, and a residual
network, whose last layer starts at zero. Training has the two transforms and the entropy model of
`coding/context.py`; `finish` makes of them the Encoder and the Decoder that `codec.py` uses.
"""

import copy
import dataclasses
import hashlib
import os
import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coding import entropy, exact, files, latents, modes, order
from coding.context import EntropyModel
from coding.errors import UserError
from coding.tiles import STRIDE

FORMAT = "autocompressor.model.2"
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
_ENTROPY_MODEL = "context."  # how the names of the entropy model's weights begin in a file
_NEGATIVE_SLOPE = 0.01


class ModelError(UserError):
    """A `.model` file that cannot be used, or not for what was asked."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What must be known before weights can be loaded; it lies in the file.

    quantize_mode: "hard", "soft" or "variable".
    digits: for each of the K components of the latents the number of integers in [0, 2^B] that hold it, see
    `quantize.split_digits`.
    trunk_widths: channels of the analysis transform's trunk at strides 4, 8 and 16.
    added_blocks: blocks that the analysis transform has more than ResNet18 at strides 4, 8 and 16: residual
    blocks, and at stride 16 bottlenecks.
    stages: of the synthesis transform, for strides 16, 8, 4, 2 or as many of them as there are: channels,
    residual blocks and bottlenecks of each.
    slices: components that are coded together, K in all, coarse ones first.
    entropy_widths: channels of z, of the features from it, and of the layers that give mean and scale.

    Raises ValueError for what cannot be meant: a file must not ask for the memory of a million channels.
    """

    quantize_mode: str
    digits: tuple
    trunk_widths: tuple
    added_blocks: tuple
    stages: tuple
    slices: tuple
    entropy_widths: tuple

    def __post_init__(self):
        if self.quantize_mode not in modes.MODES:
            raise ValueError("no such mode")
        if len(self.digits) > 1024 or not _are_counts(self.digits, 1, 4):
            raise ValueError("digits out of range")
        if len(self.trunk_widths) != 3 or not _are_counts(self.trunk_widths, 1, 1024):
            raise ValueError("trunk_widths out of range")
        if len(self.added_blocks) != 3 or not _are_counts(self.added_blocks, 0, 16):
            raise ValueError("added_blocks out of range")
        if not 1 <= len(self.stages) <= 4 or not all(_is_stage(stage) for stage in self.stages):
            raise ValueError("stages out of range")
        if (
            len(self.slices) > 16
            or not _are_counts(self.slices, 1, 1024)
            or sum(self.slices) != self.channels
        ):
            raise ValueError("slices do not cover the latents")
        if self.slices[0] > 128:  # its neighbours are summed exactly, see `exact.py`
            raise ValueError("the first slice is too large")
        if len(self.entropy_widths) != 3 or not _are_counts(self.entropy_widths, 1, 1024):
            raise ValueError("entropy_widths out of range")

    @property
    def mode(self) -> modes.Mode:
        """The row of `modes.py`."""
        return modes.MODES[self.quantize_mode]

    @property
    def B(self) -> int:
        """Bits of the quantizer."""
        return self.mode.bits

    @property
    def channels(self) -> int:
        """K, the components of the latents."""
        return len(self.digits)

    @property
    def kind(self) -> latents.Kind:
        """How the latents become integers."""
        return latents.KINDS[self.mode.latents](self.digits, self.B)


def _are_counts(values, least, most):
    return len(values) >= 1 and all(type(n) is int and least <= n <= most for n in values)


def _is_stage(stage):
    """Whether these are channels, residual blocks and bottlenecks."""
    return len(stage) == 3 and _are_counts(stage[:1], 1, 1024) and _are_counts(stage[1:], 0, 16)


_SMALL = {
    "digits": (1,) * 32,
    "slices": (5, 10, 17),
    "stages": ((256, 2, 2), (128, 2, 0), (64, 2, 0)),
}
_LARGE = {
    "digits": (1,) * 320,
    "slices": (8, 24, 64, 96, 128),
    "stages": ((256, 0, 4), (128, 3, 0), (96, 2, 0), (32, 1, 0)),
}
_SIZES = {"hard": _SMALL, "soft": _SMALL, "variable": _LARGE}


def default_config(mode: str) -> ModelConfig:
    """The configuration that training starts from in a mode."""
    return ModelConfig(
        mode,
        trunk_widths=(64, 128, 256),
        added_blocks=(1, 1, 3),
        entropy_widths=(48, 128, 160),
        **_SIZES[mode],
    )


def activate(x: torch.Tensor) -> torch.Tensor:
    """The nonlinearity of both transforms, for features of any shape: a leaky ReLU.

    There are no norms to keep features around zero, and a unit of a plain ReLU that is never above zero has
    no gradient to come back by.
    """
    return F.leaky_relu(x, _NEGATIVE_SLOPE)


def _start_at_zero(layer):
    """Let a convolution give nothing before it is trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


class BasicBlock(nn.Module):
    """ResNet's block of two 3x3 convolutions, with the parameter names of torchvision (He et al. 2016).

    Its batch norms are part of the convolutions: trained weights come with them folded in, see
    `training/start.py`. Without a norm to keep features in range, the second convolution starts at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride) if stride != 1 else nn.Identity()
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        _start_at_zero(self.conv2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return activate(self.conv2(activate(self.conv1(x))) + self.downsample(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity, as which it starts."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        _start_at_zero(self.conv2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(activate(self.conv1(activate(x))))


class Bottleneck(nn.Module):
    """A 3x3 convolution of half the channels beside the identity, as which it starts (He et al. 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 2, 1)
        self.conv2 = nn.Conv2d(channels // 2, channels // 2, 3, 1, 1)
        self.conv3 = nn.Conv2d(channels // 2, channels, 1)
        _start_at_zero(self.conv3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv3(activate(self.conv2(activate(self.conv1(activate(x))))))


class Modulation(nn.Module):
    """A scale and a shift of features, each a polynomial of the rate; it starts as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.coefficients = nn.Parameter(torch.zeros(2, 3, channels))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Features x (N, C, h, w) as the rates t (N,) want them."""
        scale, shift = (exact.polynomial(coefficients, t) for coefficients in self.coefficients)
        return x * (1 + scale).to(x.dtype) + shift.to(x.dtype)


class AnalysisTransform(nn.Module):
    """Pixels to latents: the ResNet18 trunk to stride 16 and a 1x1 neck, beside the linear path.

    The rate t, (N,), halves the quantization step for each unit; each component has a gain besides that
    depends on t (Cui et al. 2021, "Asymmetric gained deep image compression with continuous rate
    adaptation"), and so have features at stride 16.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        wide4, wide8, wide16 = config.trunk_widths  # at strides 4, 8 and 16
        added4, added8, added16 = config.added_blocks
        self.conv1 = nn.Conv2d(3, wide4, 7, 2, 3)
        self.layer1 = nn.Sequential(BasicBlock(wide4, wide4), BasicBlock(wide4, wide4))
        self.added1 = nn.Sequential(*(ResidualBlock(wide4) for _ in range(added4)))
        self.layer2 = nn.Sequential(BasicBlock(wide4, wide8, 2), BasicBlock(wide8, wide8))
        self.added2 = nn.Sequential(*(ResidualBlock(wide8) for _ in range(added8)))
        self.layer3 = nn.Sequential(BasicBlock(wide8, wide16, 2), BasicBlock(wide16, wide16))
        self.modulations = nn.ModuleList(Modulation(wide16) for _ in range(added16))
        self.bottlenecks = nn.ModuleList(Bottleneck(wide16) for _ in range(added16))
        self.neck = nn.Conv2d(wide16, config.channels, 1)
        self.linear = nn.Conv2d(3 * STRIDE**2, config.channels, 1)
        self.gain = nn.Parameter(torch.zeros(3, config.channels))  # log2
        _start_at_zero(self.neck)
        # The normalisation that ImageNet weights were trained with.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

        hyper_channels, width, _ = config.entropy_widths
        self.hyper = nn.Sequential(
            nn.Conv2d(config.channels, width, 1),
            nn.LeakyReLU(_NEGATIVE_SLOPE),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.LeakyReLU(_NEGATIVE_SLOPE),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.LeakyReLU(_NEGATIVE_SLOPE),
            nn.Conv2d(width, hyper_channels, 1),
        )

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Latents y (N, K, H/16, W/16) in quantization steps at rates t (N,), real, of pixels x.

        x: (N, 3, H, W) in [0, 1].
        """
        y = activate(self.conv1((x - self.mean) / self.std))  # (N, 64, H/2, W/2)
        y = self.added1(self.layer1(F.max_pool2d(y, 3, 2, 1)))  # (N, 64, H/4, W/4)
        y = self.added2(self.layer2(y))  # (N, 128, H/8, W/8)
        y = self.layer3(y)  # (N, 256, H/16, W/16)
        for modulation, bottleneck in zip(self.modulations, self.bottlenecks):
            y = bottleneck(modulation(y, t))
        y = self.neck(y)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has fewer digits than a latent
            y = y.float() + self.linear(F.pixel_unshuffle(x - 0.5, STRIDE))
            return y * torch.exp2(t.view(-1, 1, 1, 1) + exact.polynomial(self.gain, t))

    def hyper_latents(self, y: torch.Tensor) -> torch.Tensor:
        """z, real, (N, Z, ceil(h/4), ceil(w/4)), of latents y (N, K, h, w) in quantization steps."""
        rows, columns = y.shape[2:]
        y = F.pad(y, (0, -columns % order.HYPER_STRIDE, 0, -rows % order.HYPER_STRIDE))
        # In bands, since the latents of a large picture are the largest arrays there are.
        features = torch.cat([self.hyper[0](exact.signed_log(band)) for band in y.split(64, 2)], 2)
        return self.hyper[1:](features)


class Stage(nn.Module):
    """What the synthesis transform does at one stride: it enters, the rate modulates, blocks follow."""

    def __init__(
        self,
        enter: nn.Module,
        channels: int,
        blocks: int,
        bottlenecks: int,
    ):
        """enter: gives the channels at this stride; blocks, bottlenecks: how many."""
        super().__init__()
        self.enter, self.modulation = enter, Modulation(channels)
        self.blocks = nn.Sequential(
            *(ResidualBlock(channels) for _ in range(blocks)),
            *(Bottleneck(channels) for _ in range(bottlenecks)),
        )

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Features (N, C, h, w) of those of the stage before, for rates t (N,)."""
        return self.blocks(self.modulation(self.enter(x), t))


class SynthesisTransform(nn.Module):
    """Latents to pixels: the trunk mirrored, PixelShuffle where it strides, beside the linear path.

    It undoes the gain of the rate t, and t modulates its features.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        (first, *counts), *others = config.stages
        self.stages = nn.ModuleList([Stage(nn.Conv2d(config.channels, first, 1), first, *counts)])
        width = first
        for channels, blocks, bottlenecks in others:
            enter = nn.Sequential(nn.Conv2d(width, channels * 4, 1), nn.PixelShuffle(2))
            self.stages.append(Stage(enter, channels, blocks, bottlenecks))
            width = channels
        self.modulation = Modulation(width)
        self.last_stride = STRIDE // 2 ** len(others)
        self.head = nn.Conv2d(width, 3 * self.last_stride**2, 3, 1, 1)
        self.linear = nn.Conv2d(config.channels, 3 * STRIDE**2, 1)
        self.gain = nn.Parameter(torch.zeros(3, config.channels))  # log2, of the other transform's, undone
        _start_at_zero(self.head)
        # Spread of each component at t = 0: the network sees values around one.
        self.register_buffer("scale", torch.ones(config.channels))

    def forward(self, y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, H, W), mostly in [0, 1], of latents y (N, K, H/16, W/16) in steps at rates t (N,)."""
        with torch.autocast(y.device.type, enabled=False):
            y = y * torch.exp2(-t.view(-1, 1, 1, 1) - exact.polynomial(self.gain, t))
            linear = F.pixel_shuffle(self.linear(y), STRIDE)
        x = y / self.scale.view(1, -1, 1, 1)
        for stage in self.stages:  # (N, 256, H/16, W/16), (N, 128, H/8, W/8), and so on
            x = stage(x, t)
        x = self.head(self.modulation(x, t))
        return F.pixel_shuffle(x, self.last_stride) + linear + 0.5


def make_entropy_model(config: ModelConfig) -> EntropyModel:
    """The untrained entropy model of a configuration."""
    return EntropyModel(config.slices, *config.entropy_widths)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """All that compressing needs.

    transform: in evaluation mode; coder: with a frozen entropy model, on the CPU.
    decoder_id: 8 bytes, of the decoder that was trained with it.
    lambda_: of its training, the weight of the distortion at t = 0.
    """

    transform: AnalysisTransform
    coder: latents.LatentCoder
    decoder_id: bytes
    lambda_: float

    @property
    def config(self) -> ModelConfig:
        """That of the transform."""
        return self.transform.config

    @property
    def device(self) -> torch.device:
        """That of the transform."""
        return next(self.transform.parameters()).device

    def latents_of(self, y: torch.Tensor) -> latents.Latents:
        """What is coded, real, on the CPU, of y (1, K, h, w) as the transform gives it."""
        return _latents_of(self.transform, y)

    def save(self, path: str) -> None:
        """Write `path`, weights in half precision; raises ModelError if they do not fit, and OSError."""
        _save(path, "encoder", self, {"model_id": self.decoder_id.hex(), "lambda": self.lambda_})

    @classmethod
    def load(cls, path: str, device: str = "cpu") -> "Encoder":
        """Read `path`, the transform onto `device`; raises ModelError for anything else than such a file.

        No code in the file is run.
        """
        content, transform, coder = _load(path, "encoder", AnalysisTransform)
        try:
            decoder_id, lambda_ = bytes.fromhex(content["model_id"]), float(content["lambda"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: does not say which decoder it belongs to") from error
        return cls(_place(transform, device), coder, decoder_id, lambda_)


@dataclasses.dataclass(frozen=True)
class Decoder:
    """All that decompressing needs; id: 8 bytes that name it, see `compute_id`."""

    transform: SynthesisTransform
    coder: latents.LatentCoder
    id: bytes

    @property
    def config(self) -> ModelConfig:
        """That of the transform."""
        return self.transform.config

    @property
    def device(self) -> torch.device:
        """That of the transform."""
        return next(self.transform.parameters()).device

    def save(self, path: str) -> None:
        """As of an Encoder."""
        _save(path, "decoder", self, {})

    @classmethod
    def load(cls, path: str, device: str = "cpu") -> "Decoder":
        """As of an Encoder."""
        _, transform, coder = _load(path, "decoder", SynthesisTransform)
        return cls(_place(transform, device), coder, compute_id(transform, coder))


@torch.inference_mode()
def _latents_of(transform, y):
    """As `Encoder.latents_of`."""
    y = transform.config.kind.clip(y)
    z = transform.hyper_latents(y).clamp(-latents.LARGEST, latents.LARGEST)
    return latents.Latents(y.cpu(), z.cpu())


def finish(
    analysis: AnalysisTransform,
    synthesis: SynthesisTransform,
    entropy_model: EntropyModel,
    pictures: Iterable[torch.Tensor],
    lambda_: float,
) -> tuple[Encoder, Decoder]:
    """The pair of what was trained: weights as in files, a frozen entropy model, fitted adaptive models.

    pictures: pixels (1, 3, H, W) in [0, 1], H and W multiples of 16; the adaptive models are fitted on them,
    at all rates in turn.
    What is given stays as it is.
    """
    analysis, synthesis, entropy_model = (
        _as_in_file(copy.deepcopy(module).cpu().eval()) for module in (analysis, synthesis, entropy_model)
    )
    exact.freeze(entropy_model)
    coder = latents.fit(entropy_model, analysis.config.kind, _samples(analysis, pictures))
    decoder = Decoder(synthesis, coder, compute_id(synthesis, coder))
    return Encoder(analysis, coder, decoder.id, lambda_), decoder


def _samples(analysis, pictures):
    """Latents and rate of each picture; rates far from one another follow each other."""
    mode = analysis.config.mode
    with torch.inference_mode():
        for index, x in enumerate(pictures):
            t = mode.rate(mode.numbers[37 * index % len(mode.numbers)])
            yield _latents_of(analysis, analysis(x, torch.tensor([t]))), t


def _as_in_file(module):
    """The module with its weights rounded to half precision."""
    module.load_state_dict({name: t.half().to(t.dtype) for name, t in module.state_dict().items()})
    return module


def _weights(transform, coder):
    """Weights of a transform and its entropy model by their names in a file, in half precision."""
    state = transform.state_dict()
    state |= {_ENTROPY_MODEL + name: t for name, t in coder.entropy_model.state_dict().items()}
    return {name: t.half() if t.is_floating_point() else t for name, t in state.items()}


def _bank_tensors(bank):
    """What a file holds of a bank: the alphabets one after the other."""
    arrays = {"lowest": bank.lowest, "sizes": bank.sizes.astype(np.int16), "frequencies": bank.flat}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def compute_id(synthesis: SynthesisTransform, coder: latents.LatentCoder) -> bytes:
    """Eight bytes that name a decoder: a hash over its configuration, weights (as stored) and bank."""
    digest = hashlib.sha256(repr(dataclasses.astuple(synthesis.config)).encode())
    for tensors in (_weights(synthesis, coder), _bank_tensors(coder.bank)):
        for name in sorted(tensors):
            tensor = tensors[name].cpu().contiguous()
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().astype(tensor.numpy().dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:8]


def shipped(mode: str, kind: str) -> str:
    """Path of the "encoder" or "decoder" that comes with the program for a mode."""
    return os.path.join(MODELS, modes.MODES[mode].folder, f"{kind}.model")


def _save(path, kind, model, fields):
    """Write an Encoder or a Decoder, with the fields that only its kind has."""
    content = {
        "format": FORMAT,
        "kind": kind,
        "config": dataclasses.asdict(model.config),
        "bank": _bank_tensors(model.coder.bank),
        "weights": _weights(model.transform, model.coder),
        **fields,
    }
    if not all(t.isfinite().all() for t in content["weights"].values()):
        raise ModelError("a weight does not fit half precision; nothing was saved")
    with files.replacing(path) as temporary:
        torch.save(content, temporary)


def _load(path, kind, transform_class):
    """Content of the file, transform and LatentCoder of the "encoder" or "decoder" in `path`, on the CPU."""
    content = _read(path)
    try:
        if content["format"] != FORMAT:
            raise ModelError(f"{path}: not an AutoCompressor model, or one of a later version")
        if content["kind"] != kind:
            raise ModelError(f"{path}: is the {content['kind']}, not the {kind}")
        if not all(t.isfinite().all() for t in content["weights"].values()):
            raise ModelError(f"{path}: holds weights that are no numbers")
        config = ModelConfig(**content["config"])
        transform, entropy_model = transform_class(config), make_entropy_model(config)
        _load_weights(content["weights"], transform, entropy_model)
        bank = entropy.Bank.from_flat(**{name: t.numpy() for name, t in content["bank"].items()})
        return content, transform, latents.LatentCoder(exact.freeze(entropy_model), config.kind, bank)
    except ModelError:
        raise
    except Exception as error:  # the content of a foreign file can fail in any way
        raise ModelError(f"{path}: not an AutoCompressor model") from error


def _read(path):
    """What is in the file, without running code in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles, which are refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or 'cannot be read'}") from error
    except Exception as error:  # torch.load can fail in any way
        raise ModelError(f"{path}: not an AutoCompressor model") from error


def _load_weights(weights, transform, entropy_model):
    theirs = {name: t for name, t in weights.items() if name.startswith(_ENTROPY_MODEL)}
    entropy_model.load_state_dict({name.removeprefix(_ENTROPY_MODEL): t for name, t in theirs.items()})
    transform.load_state_dict({name: t for name, t in weights.items() if name not in theirs})


def _place(transform, device):
    return transform.eval().to(device, memory_format=torch.channels_last)
