"""Arithmetic that gives the same result on every machine, for networks that choose probabilities.

A decoder that recomputes probabilities in floating point loses the file where its sums round otherwise
than the encoder's (Balle, Johnston and Minnen 2019, "Integer networks for data compression with
latent-variable models"). Here no sum is ever rounded, so that neither its order, nor threads, nor fused
operations matter. There are two ways:

- float64, weights multiples of 2^-12 within +-8, activations multiples of 2^-8 within +-2^15: with up to
  4,096 terms every partial sum is a multiple of 2^-20 below 2^31;
- float32, in `Linear`, twice as fast: inputs multiples of 2^-6 within +-32, and each row of weights on the
  finest grid for which no partial sum can need more than the 24 bits of float32.

What happens to single numbers, not sums, is rounded by IEEE 754 alike everywhere. The same functions serve
training: in float32 they are differentiable and round nothing.
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

WEIGHT_BITS = 12
ACTIVATION_BITS = 8
MOST_WEIGHT = 8
MOST_ACTIVATION = 2**15
INPUT_BITS = 6  # of the inputs of `Linear`
MOST_INPUT = 32
FLOAT32_BITS = 24
EXPONENT_BITS = 6  # of the fraction in `power_of_two`


def _roots():
    """2^(i/64) for i in 0 ... 63 in 1/4096, rounded down: six square roots of integers are a 64th root."""
    values = []
    for i in range(2**EXPONENT_BITS):
        root = 2 ** (i + WEIGHT_BITS * 2**EXPONENT_BITS)
        for _ in range(EXPONENT_BITS):
            root = math.isqrt(root)
        values.append(root / 2**WEIGHT_BITS)
    return torch.tensor(values, dtype=torch.float64)


ROOTS = _roots()


class Linear(nn.Linear):
    """A layer for what `activate` or `signed_log` gave; frozen, it is exact in float32 and gives float64."""

    frozen = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.linear(x.to(self.weight.dtype), self.weight, self.bias)
        return y.double() if self.frozen else y

    @torch.no_grad()
    def freeze(self) -> None:
        """Bring each row to its grid, on which the sum of all magnitudes of products stays below 2^24."""
        bias = torch.zeros(len(self.weight)) if self.bias is None else self.bias
        rows = torch.cat([self.weight, bias[:, None]], 1).double()
        most = torch.tensor([MOST_INPUT] * self.in_features + [1], dtype=torch.float64)
        result, done = rows, torch.zeros(len(rows), dtype=torch.bool)
        for bits in range(WEIGHT_BITS, -2 * WEIGHT_BITS, -1):
            grid = (rows * 2.0**bits).round() / 2.0**bits
            fits = ~done & ((grid.abs() * most).sum(1) < 2.0 ** (FLOAT32_BITS - INPUT_BITS - bits))
            result = torch.where(fits[:, None], grid, result)
            done |= fits
        self.float()
        self.weight.copy_(result[:, :-1])
        if self.bias is not None:
            self.bias.copy_(result[:, -1])
        self.frozen = True


def float32_is_whole() -> bool:
    """Whether products of float32 matrices keep 24 bits now: some settings of PyTorch give up a part."""
    long, short = torch.full((64, 64), 4095.0), torch.full((64, 64), 63.0)
    return all((F.linear(*pair) == 64 * 63 * 4095).all() for pair in ((long, short), (short, long)))


def arithmetic(function: Callable) -> Callable:
    """A function that computes with frozen modules, kept from the caller's autocast, which would round.

    It computes no gradients.
    """
    return torch.inference_mode()(torch.autocast("cpu", enabled=False)(function))


def suit(module: nn.Module) -> nn.Module:
    """Let a module's frozen layers compute in float32 if that is exact now, else in float64; returns it."""
    dtype = torch.float32 if float32_is_whole() else torch.float64
    for layer in module.modules():
        if isinstance(layer, Linear):
            layer.to(dtype)
    return module


@torch.no_grad()
def freeze(module: nn.Module) -> nn.Module:
    """Bring a module's parameters to the grids of exact arithmetic, in place; returns it."""
    module.double().cpu().eval()
    layers = [layer for layer in module.modules() if isinstance(layer, Linear)]
    for layer in layers:
        layer.freeze()
    rows = {parameter for layer in layers for parameter in layer.parameters()}
    for parameter in module.parameters():
        parameter.requires_grad_(False)
        if parameter not in rows:
            parameter.copy_((parameter * 2**WEIGHT_BITS).round() / 2**WEIGHT_BITS).clamp_(
                -MOST_WEIGHT, MOST_WEIGHT
            )
    return module


def thaw(module: nn.Module) -> nn.Module:
    """Bring a frozen module back to float32 and gradients, in place; returns it."""
    for layer in module.modules():
        if isinstance(layer, Linear):
            layer.frozen = False
    return module.float().requires_grad_()


def _to_grid(x, bits):
    """x, which is changed, rounded to multiples of 2^-bits in float64, as it is in float32."""
    return x.mul_(2**bits).round_().div_(2**bits) if x.dtype == torch.float64 else x


def settle(x: torch.Tensor) -> torch.Tensor:
    """Activations of any shape rounded to their grid and range; in float32 only brought to the range."""
    return _to_grid(F.hardtanh(x, -MOST_ACTIVATION, MOST_ACTIVATION), ACTIVATION_BITS)


def activate(x: torch.Tensor) -> torch.Tensor:
    """Between exact layers: zero for what is negative, the rest brought to the grid and range of inputs."""
    return _to_grid(F.hardtanh(x, 0, MOST_INPUT), INPUT_BITS)


def power_of_two(x: torch.Tensor) -> torch.Tensor:
    """2^x of settled x of any shape, from a table in float64."""
    if x.dtype != torch.float64:
        return torch.exp2(x)
    parts = (x * 2**EXPONENT_BITS).round().long()  # 64ths
    whole = (
        parts >> EXPONENT_BITS
    ) + 1023 << 52  # the bits of a power of two; library functions may be off by one
    return ROOTS[parts % 2**EXPONENT_BITS] * whole.view(torch.float64)


def signed_log(x: torch.Tensor) -> torch.Tensor:
    """sign(x) log2(1 + |x|), by straight lines between powers of two, on the grid and in range of inputs."""
    mantissa, exponent = torch.frexp(1 + x.abs())
    return _to_grid(x.sign() * (exponent + 2 * mantissa - 2), INPUT_BITS)


def polynomial(coefficients: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """c0 + c1 t + c2 t^2, settled, (N, C, 1, 1), of coefficients (3, C) at t (N,), multiples of 1/64."""
    powers = torch.stack((torch.ones_like(t), t, t.square()))  # (3, N)
    return settle((powers[:, :, None] * coefficients[:, None]).sum(0))[:, :, None, None]
