"""Networks of one mode that become those of another."""

import dataclasses

import pytest
import torch

from conftest import build_transforms, pictures, small_config
from training import convert
from training.loss import Networks
from training.start import set_principal_components

ONE = torch.zeros(1)  # the rate of hard and soft mode


def squares(count):
    """Pixels (count, 3, 64, 64): squares of random colours."""
    return torch.rand(count, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)


@pytest.mark.parametrize("t", [-0.5, 1.0])
def test_at_one_rate_networks_do_what_they_did_at_it(t):
    torch.manual_seed(0)
    config = dataclasses.replace(small_config("variable"), digits=(1,) * 11, slices=(2, 3, 3, 2, 1))
    variable = Networks.untrained(config)
    with torch.no_grad():
        for network in variable.analysis, variable.synthesis, variable.entropy_model:
            for parameter in network.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
    soft = convert.fix_rate(variable, small_config("soft"), pictures(), t)
    assert soft.config.quantize_mode == "soft" and soft.config.slices == (2, 3, 3)
    assert sum(soft.config.digits) == 5 and soft.config.digits.count(0) == 3

    x, rate = pictures(), torch.tensor([t])
    with torch.no_grad():
        y, kept = variable.analysis(x, rate), soft.analysis(x, ONE)
        assert torch.allclose(kept, y[:, :8], rtol=1e-4, atol=1e-4)
        y[:, 8:] = 0
        assert torch.allclose(soft.synthesis(kept, ONE), variable.synthesis(y, rate), rtol=1e-3, atol=1e-3)
        z = variable.analysis.hyper_latents(y)
        assert torch.allclose(soft.analysis.hyper_latents(kept), z, atol=1e-4)
        for of_soft, of_variable in zip(
            parameters_of(soft, kept, z, ONE), parameters_of(variable, y, z, rate), strict=False
        ):
            assert torch.allclose(of_soft, of_variable, atol=2e-3)


def parameters_of(networks, y, z, t):
    """Mean and scale of z, then those of all groups of latents, which are kept as they are."""
    found = list(networks.entropy_model.hyper_parameters(t))

    def policy(distance, mean, log_scale):
        found.extend((mean, log_scale))
        return distance

    networks.entropy_model.quantize(y, z, t.expand(len(y)), policy)
    return found


def test_coarsened_models_say_the_same_in_larger_steps():
    soft, pixels = Networks(*build_transforms("soft")), squares(8)
    set_principal_components(soft, pixels, step=0.2)
    hard = convert.coarsen(soft, small_config("hard"), pixels, step=4.0)
    hard.analysis.eval()
    digits = hard.config.digits
    assert sum(digits) == 4 and digits[0] > 1
    assert sorted(digits, reverse=True) == list(digits)

    y, coarse = convert.latents(soft.analysis, pixels), convert.latents(hard.analysis, pixels)
    order = y.std(1).argsort(descending=True)[: len(digits)]
    assert torch.allclose(coarse, (y - y.mean(1, keepdim=True))[order] / 4, atol=1e-3)
    kept = torch.zeros_like(y) + y.mean(1, keepdim=True)
    kept[order] = y[order]
    kept = kept.view(6, 8, 4, 4).transpose(0, 1)
    with torch.no_grad():
        expected = soft.synthesis(kept, ONE)
        assert torch.allclose(hard.synthesis(hard.analysis(pixels, ONE), ONE), expected, atol=1e-2)
