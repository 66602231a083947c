"""Networks of one mode that become those of another."""

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
    variable, config = Networks(*build_transforms("variable")), small_config("soft")
    soft = convert.at_rate(variable, config, pictures(), t)
    assert soft.config.quantize_mode == "soft" and soft.config.slices == variable.config.slices[:3]
    x, rate = pictures(), torch.tensor([t])
    with torch.no_grad():
        y, kept = variable.analysis(x, rate), soft.analysis(x, ONE)
        assert torch.allclose(kept, y[:, :3], rtol=1e-4, atol=1e-4)
        y[:, 3:] = 0
        assert torch.allclose(soft.synthesis(kept, ONE), variable.synthesis(y, rate), atol=1e-4)

        z = variable.analysis.hyper_latents(y)
        assert torch.allclose(soft.analysis.hyper_latents(kept), z, atol=1e-4)
        for of_soft, of_variable in zip(
            soft.entropy_model.hyper_parameters(ONE), variable.entropy_model.hyper_parameters(rate)
        ):
            assert torch.allclose(of_soft, of_variable, atol=1e-3)
        features = soft.entropy_model.features(z.round(), ONE)
        assert torch.allclose(features, variable.entropy_model.features(z.round(), rate), atol=2e-2)


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
