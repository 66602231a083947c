"""What training has in place of `coding/exact.py`: the same functions, smooth, with nothing rounded."""

import torch
from torch.nn import functional as F

from coding.exact import MOST_ACTIVATION, MOST_INPUT


def settle(x: torch.Tensor) -> torch.Tensor:
    """Activations of any shape brought to their range."""
    return F.hardtanh(x, -MOST_ACTIVATION, MOST_ACTIVATION)


def activate(x: torch.Tensor) -> torch.Tensor:
    """Between layers: zero for what is negative, the rest brought to the range of inputs."""
    return F.hardtanh(x, 0, MOST_INPUT)


def signed_log(x: torch.Tensor) -> torch.Tensor:
    """sign(x) log2(1 + |x|), by straight lines between powers of two."""
    side = torch.where(x < 0, -1.0, 1.0).to(x.dtype)  # not sign(x): zero has a gradient too
    above = 1 + side * x
    exponent = above.detach().log2().floor()  # at a power of two both lines beside it give the same
    return side * (exponent + above * torch.exp2(-exponent) - 1)


def polynomial(coefficients: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """c0 + c1 t + c2 t^2, in range, (N, C, 1, 1), of coefficients (3, C) at rates t (N,)."""
    powers = torch.stack((torch.ones_like(t), t, t.square()))  # (3, N)
    return settle((powers[:, :, None] * coefficients[:, None]).sum(0))[:, :, None, None]
