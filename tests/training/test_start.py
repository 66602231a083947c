"""Where training starts."""

import dataclasses

import torch
from torch.nn import functional as F

from conftest import build_transforms
from training import start
from training.loss import Networks

ONE = torch.zeros(1)  # the rate of hard and soft mode


def squares(count):
    """Pixels (count, 3, 64, 64): squares of random colours."""
    return torch.rand(count, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)


def test_principal_components_reconstruct_what_they_span():
    networks = Networks(*build_transforms("soft"))
    pixels = torch.rand(6, 3, 1, 1).expand(6, 3, 32, 32).contiguous()  # flat colours: three dimensions
    start.set_principal_components(networks, pixels, step=0.01)
    y = networks.analysis.linear(pixels - 0.5)
    decoded = F.pixel_shuffle(networks.synthesis.linear(y), 16) + 0.5
    assert torch.allclose(decoded, pixels, atol=1e-3)


def test_coarsened_models_say_the_same_in_larger_steps():
    soft, pixels = Networks(*build_transforms("soft")), squares(8)
    start.set_principal_components(soft, pixels, step=0.2)
    config = dataclasses.replace(soft.config, quantize_mode="hard", B=2)
    hard = start.coarsen(soft, config, pixels, step=4.0)
    hard.analysis.eval()
    digits = hard.config.digits
    assert sum(digits) == 4 and digits[0] > 1
    assert sorted(digits, reverse=True) == list(digits)

    y, coarse = start.latents(soft.analysis, pixels), start.latents(hard.analysis, pixels)
    order = y.std(1).argsort(descending=True)[: len(digits)]
    assert torch.allclose(coarse, (y - y.mean(1, keepdim=True))[order] / 4, atol=1e-3)
    kept = torch.zeros_like(y) + y.mean(1, keepdim=True)
    kept[order] = y[order]
    kept = kept.view(4, 8, 4, 4).transpose(0, 1)
    with torch.no_grad():
        expected = soft.synthesis(kept, ONE)
        assert torch.allclose(hard.synthesis(hard.analysis(pixels), ONE), expected, atol=1e-2)


def test_widened_models_keep_what_is_known_and_reconstruct_more():
    soft, pixels = Networks(*build_transforms("soft")), torch.rand(8, 3, 64, 64)
    start.set_principal_components(soft, pixels, step=0.2)
    config = dataclasses.replace(soft.config, quantize_mode="variable", digits=(1,) * 40, slices=(4, 36))
    wide = start.widen(soft, config, pixels, step=0.1)
    with torch.no_grad():
        for layer in (
            soft.analysis.neck,
            soft.synthesis.head,
        ):  # the wide ones start with linear paths alone
            layer.weight.zero_()
            layer.bias.zero_()
        y, wide_y = soft.analysis(pixels), wide.analysis(pixels)
        assert torch.allclose(wide_y[:, :4], y, atol=1e-3)
        error, wide_error = (
            (networks.synthesis(latents, ONE) - pixels).square().mean()
            for networks, latents in ((soft, y), (wide, wide_y))
        )
    assert wide_error < 0.99 * error
    assert torch.equal(wide.synthesis.layer3[0].conv1.weight, soft.synthesis.layer3[0].conv1.weight)


def test_digits_go_where_they_save_the_most():
    random = torch.Generator().manual_seed(0)
    y = torch.randn(5, 4000, generator=random) * torch.tensor([20.0, 4.0, 0.9, 0.8, 0.01])[:, None]
    counts = start.allocate(y, base=5, room=7)
    assert sum(counts) == 7 and counts[0] == 3 and counts[1] == 2 and counts[2:4] == [1, 1]
