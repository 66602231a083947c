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

import torch
from torch import nn
from torch.nn import functional as F

from coding import entropy, exact, files, latents, modes, order
from coding.context import EntropyModel
from coding.errors import UserError
from coding.tiles import STRIDE

FORMAT = "autocompressor.model.1"
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
_ENTROPY_MODEL = "context."  # how the names of the entropy model's weights begin in a file


class ModelError(UserError):
    """A `.model` file that cannot be used, or not for what was asked."""


def _are_counts(values, most):
    return len(values) >= 1 and all(type(n) is int and 1 <= n <= most for n in values)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What must be known before weights can be loaded; it lies in the file. Raises ValueError for what cannot
    be meant, so that a file cannot ask for the memory of a million channels.

    quantize_mode: "hard", "soft" or "variable"; B: bits of the quantizer, those of the mode.
    digits: for each of the K components of the latents the number of integers in [0, 2^B] that hold it, see
    `quantize.split_digits`.
    widths: channels of the trunk at strides 4, 8 and 16.
    slices: components that are coded together, K in all, coarse ones first.
    entropy_widths: channels of z, of the features from it, and of the layers that give mean and scale.
    """

    quantize_mode: str
    B: int
    digits: tuple
    widths: tuple
    slices: tuple
    entropy_widths: tuple

    def __post_init__(self):
        if self.quantize_mode not in modes.MODES or self.mode.bits != self.B:
            raise ValueError("B is not that of the mode")
        if len(self.digits) > 1024 or not _are_counts(self.digits, 4):
            raise ValueError("digits out of range")
        if len(self.widths) != 3 or not _are_counts(self.widths, 1024):
            raise ValueError("widths out of range")
        if len(self.slices) > 16 or not _are_counts(self.slices, 1024) or sum(self.slices) != self.channels:
            raise ValueError("slices do not cover the latents")
        if self.slices[0] > 128:  # its neighbours are summed exactly, see `exact.py`
            raise ValueError("the first slice is too large")
        if len(self.entropy_widths) != 3 or not _are_counts(self.entropy_widths, 1024):
            raise ValueError("entropy_widths out of range")

    @property
    def mode(self) -> modes.Mode:
        """The row of `modes.py`."""
        return modes.MODES[self.quantize_mode]

    @property
    def channels(self) -> int:
        """K, the components of the latents."""
        return len(self.digits)

    @property
    def kind(self) -> latents.Kind:
        """How the latents become integers."""
        return latents.KINDS[self.mode.latents](self.digits, self.B)


_SMALL = {"digits": (1,) * 32, "slices": (5, 10, 17), "entropy_widths": (32, 128, 160)}
_LARGE = {"digits": (1,) * 320, "slices": (8, 24, 64, 96, 128), "entropy_widths": (48, 128, 160)}
_SIZES = {"hard": _SMALL, "soft": _SMALL, "variable": _LARGE}


def default_config(mode: str) -> ModelConfig:
    """The configuration that training starts from in a mode."""
    return ModelConfig(mode, modes.MODES[mode].bits, widths=(64, 128, 256), **_SIZES[mode])


class BasicBlock(nn.Module):
    """ResNet's block of two 3x3 convolutions, with the parameter names of torchvision (He et al. 2016)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity()
        if stride != 1:
            narrow = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(narrow, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.downsample(x))


class MirrorBlock(nn.Module):
    """The block on the way back: no batch norm, which disturbs regression, so it starts as identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


def _add_rate(module, name, config, *shape):
    """Give a transform coefficients of the rate, zeros (*shape).

    In a mode of one rate they stay zero, and have no place in a file.
    """
    if config.mode.is_fixed:
        module.register_buffer(name, torch.zeros(shape), persistent=False)
    else:
        module.register_parameter(name, nn.Parameter(torch.zeros(shape)))


class AnalysisTransform(nn.Module):
    """Pixels to latents: the ResNet18 trunk to stride 16 and a 1x1 neck, beside the linear path.

    The rate t, (N,), halves the quantization step for each unit; each component has a gain besides that
    depends on t (Cui et al. 2021, "Asymmetric gained deep image compression with continuous rate
    adaptation").
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        wide4, wide8, wide16 = config.widths  # at strides 4, 8 and 16
        self.conv1 = nn.Conv2d(3, wide4, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(wide4)
        self.layer1 = nn.Sequential(BasicBlock(wide4, wide4), BasicBlock(wide4, wide4))
        self.layer2 = nn.Sequential(BasicBlock(wide4, wide8, 2), BasicBlock(wide8, wide8))
        self.layer3 = nn.Sequential(BasicBlock(wide8, wide16, 2), BasicBlock(wide16, wide16))
        self.neck = nn.Conv2d(wide16, config.channels, 1)
        self.linear = nn.Conv2d(3, config.channels, STRIDE, STRIDE)
        nn.init.zeros_(self.neck.weight)
        nn.init.zeros_(self.neck.bias)
        # The normalisation that ImageNet weights were trained with.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        _add_rate(self, "gain", config, 3, config.channels)  # log2

        hyper_channels, width, _ = config.entropy_widths
        self.hyper = nn.Sequential(
            nn.Conv2d(config.channels, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, hyper_channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Latents y, (N, K, H/16, W/16), real, of pixels x (N, 3, H, W) in [0, 1]; the same for all rates."""
        y = F.relu(self.bn1(self.conv1((x - self.mean) / self.std)))  # (N, 64, H/2, W/2)
        y = self.layer1(F.max_pool2d(y, 3, 2, 1))  # (N, 64, H/4, W/4)
        y = self.layer3(self.layer2(y))  # (N, 256, H/16, W/16)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has fewer digits than a latent
            linear = self.linear(x - 0.5)
        return self.neck(y) + linear

    def scale(self, y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Latents y (N, K, h, w) in quantization steps at rates t (N,), real."""
        return y * torch.exp2(t.view(-1, 1, 1, 1) + exact.polynomial(self.gain, t))

    def hyper_latents(self, y: torch.Tensor) -> torch.Tensor:
        """z, real, (N, Z, ceil(h/4), ceil(w/4)), of latents y (N, K, h, w) in quantization steps."""
        rows, columns = y.shape[2:]
        y = F.pad(y, (0, -columns % order.HYPER_STRIDE, 0, -rows % order.HYPER_STRIDE))
        # In bands, since the latents of a large picture are the largest arrays there are.
        features = torch.cat([self.hyper[0](exact.signed_log(band)) for band in y.split(64, 2)], 2)
        return self.hyper[1:](features)


class SynthesisTransform(nn.Module):
    """Latents to pixels: the trunk mirrored, PixelShuffle where it strides, beside the linear path.

    It undoes the gain of the rate t, and t modulates its features.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        wide4, wide8, wide16 = config.widths  # at strides 4, 8 and 16
        self.neck = nn.Conv2d(config.channels, wide16, 1)
        self.layer3 = nn.Sequential(MirrorBlock(wide16), MirrorBlock(wide16))
        self.up3 = nn.Sequential(nn.Conv2d(wide16, wide8 * 4, 1), nn.PixelShuffle(2))
        self.layer2 = nn.Sequential(MirrorBlock(wide8), MirrorBlock(wide8))
        self.up2 = nn.Sequential(nn.Conv2d(wide8, wide4 * 4, 1), nn.PixelShuffle(2))
        self.layer1 = nn.Sequential(MirrorBlock(wide4), MirrorBlock(wide4))
        self.head = nn.Conv2d(wide4, 3 * 16, 3, 1, 1)
        self.linear = nn.Conv2d(config.channels, 3 * STRIDE**2, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # Spread of each component at t = 0: the network sees values around one.
        self.register_buffer("scale", torch.ones(config.channels))
        _add_rate(
            self, "gain", config, 3, config.channels
        )  # log2, of the other transform's gain as it is undone
        self.modulation = _Modulation(config, wide16, wide8, wide4, wide4)

    def forward(self, y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, H, W), mostly in [0, 1], of latents y (N, K, H/16, W/16) in steps at rates t (N,)."""
        y = y * torch.exp2(-t.view(-1, 1, 1, 1) - exact.polynomial(self.gain, t))
        x = self.modulation(self.neck(y / self.scale.view(1, -1, 1, 1)), 0, t)  # (N, 256, H/16, W/16)
        x = self.modulation(self.up3(self.layer3(x)), 1, t)  # (N, 128, H/8, W/8)
        x = self.modulation(self.up2(self.layer2(x)), 2, t)  # (N, 64, H/4, W/4)
        x = self.modulation(self.layer1(x), 3, t)
        x = F.pixel_shuffle(self.head(x), 4)  # (N, 3, H, W)
        with torch.autocast(x.device.type, enabled=False):
            linear = F.pixel_shuffle(self.linear(y), STRIDE)
        return x + linear + 0.5


class _Modulation(nn.Module):
    """A scale and a shift of features that depend on the rate, at each of some places in a transform."""

    def __init__(self, config, *widths):
        super().__init__()
        for place, width in enumerate(widths):
            _add_rate(self, str(place), config, 2, 3, width)

    def forward(self, x, place, t):
        """x (N, C, h, w), scaled and shifted at rates t (N,) as is fit at a place."""
        scale, shift = (exact.polynomial(coefficients, t) for coefficients in getattr(self, str(place)))
        return x * (1 + scale) + shift


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

    def latents_at(self, y: torch.Tensor, t: float) -> latents.Latents:
        """What is coded at rate t, real, on the CPU, of y (1, K, h, w) as the transform gives it."""
        return _latents_at(self.transform, y, t)

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
def _latents_at(transform, y, t):
    """As `Encoder.latents_at`."""
    y = transform.config.kind.clip(transform.scale(y, torch.tensor([t], device=y.device)))
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
            yield _latents_at(analysis, analysis(x), t), t


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
    return {"lowest": torch.from_numpy(bank.lowest), "frequencies": torch.from_numpy(bank.frequencies)}


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
        bank = entropy.Bank(content["bank"]["lowest"].numpy(), content["bank"]["frequencies"].numpy())
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
