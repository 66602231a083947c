"""The autoencoder: a ResNet18 analysis transform and its mirror.

    pixels (N, 3, H, W) in [0, 1] -> AnalysisTransform -> latents y (N, K, H/16, W/16)
                                  -> scaled to quantization steps at the rate t, quantized, coded
                                  -> SynthesisTransform, which knows t -> pixels

H and W are multiples of 16 here; `pictures/picture.py` pads and `codec.py` crops. Both transforms are the
sum of a linear path, which starts from principal components and is a working codec by itself, and a residual
network, whose last layer starts at zero. Training has the two transforms and the entropy model of
`networks/entropy_model.py`; `engines/export.py` makes of them the `.model` files that `codec.py` uses.
"""

import torch
from torch import nn
from torch.nn import functional as F

from coding.config import ModelConfig
from coding.tiles import STRIDE
from networks import relaxed

_NEGATIVE_SLOPE = 0.01

_SIZES = {
    "hard": {"digits": (1,) * 96, "slices": (8, 24, 64)},
    # Four alone in an integer, others in pairs, in threes and in fours: 96 components in 32 integers.
    "soft": {
        "digits": (1,) * 4 + (1, 0) * 6 + (1, 0, 0) * 8 + (1, 0, 0, 0) * 14,
        "slices": (8, 24, 64),
    },
    "variable": {"digits": (1,) * 320, "slices": (8, 24, 64, 96, 128)},
}


def default_config(mode: str) -> ModelConfig:
    """The configuration that training starts from in a mode."""
    return ModelConfig(
        mode,
        trunk_widths=(64, 128, 256),
        added_blocks=(1, 1, 3),
        stages=((256, 0, 4), (128, 3, 0), (96, 2, 0), (32, 1, 0)),
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
        scale, shift = (relaxed.polynomial(coefficients, t) for coefficients in self.coefficients)
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
        most = torch.from_numpy(config.kind.most).float().view(1, -1, 1, 1)
        self.register_buffer("most", most, persistent=False)
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
            return y * torch.exp2(t.view(-1, 1, 1, 1) + relaxed.polynomial(self.gain, t))

    def clip(self, y: torch.Tensor) -> torch.Tensor:
        """Latents (N, K, h, w) brought to where they can be coded, once they are rounded."""
        return torch.clamp(y, -self.most, self.most)

    def hyper_latents(self, y: torch.Tensor) -> torch.Tensor:
        """z, real, (N, Z, ceil(h/4), ceil(w/4)), of latents y (N, K, h, w) in quantization steps."""
        return self.hyper(relaxed.signed_log(y))


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
            y = y * torch.exp2(-t.view(-1, 1, 1, 1) - relaxed.polynomial(self.gain, t))
            linear = F.pixel_shuffle(self.linear(y), STRIDE)
        x = y / self.scale.view(1, -1, 1, 1)
        for stage in self.stages:  # (N, 256, H/16, W/16), (N, 128, H/8, W/8), and so on
            x = stage(x, t)
        x = self.head(self.modulation(x, t))
        return F.pixel_shuffle(x, self.last_stride) + linear + 0.5
