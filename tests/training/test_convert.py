"""Networks of one mode that become those of another."""

import dataclasses

import pytest
import torch

from conftest import pictures, small_config
from training import convert
from training.loss import Networks

ONE = torch.zeros(1)  # the rate of hard and soft mode


@pytest.mark.parametrize("mode, t", [("soft", -0.5), ("soft", 1.0), ("hard", 0.3)])
def test_at_one_rate_networks_do_what_they_did_at_it(mode, t):
    torch.manual_seed(0)
    config = dataclasses.replace(small_config("variable"), digits=(1,) * 11, slices=(2, 3, 3, 2, 1))
    variable = Networks.untrained(config)
    with torch.no_grad():
        for network in variable.analysis, variable.synthesis, variable.entropy_model:
            for parameter in network.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
    fixed = convert.fix_rate(variable, small_config(mode), pictures(), t)
    digits = fixed.config.digits
    assert fixed.config.quantize_mode == mode and fixed.config.slices == (2, 3, 3)
    assert (sum(digits), digits.count(0)) == ((5, 3) if mode == "soft" else (8, 0))

    x, rate = pictures(), torch.tensor([t])
    with torch.no_grad():
        y, kept = variable.analysis(x, rate), fixed.analysis(x, ONE)
        assert torch.allclose(kept, y[:, :8], rtol=1e-4, atol=1e-4)
        y[:, 8:] = 0
        assert torch.allclose(fixed.synthesis(kept, ONE), variable.synthesis(y, rate), rtol=1e-3, atol=1e-3)
        z = variable.analysis.hyper_latents(y)
        assert torch.allclose(fixed.analysis.hyper_latents(kept), z, atol=1e-4)
        for of_fixed, of_variable in zip(
            parameters_of(fixed, kept, z, ONE), parameters_of(variable, y, z, rate), strict=False
        ):
            assert torch.allclose(of_fixed, of_variable, atol=2e-3)


def parameters_of(networks, y, z, t):
    """Mean and scale of z, then those of all groups of latents, which are kept as they are."""
    found = list(networks.entropy_model.hyper_parameters(t))

    def policy(distance, mean, log_scale):
        found.extend((mean, log_scale))
        return distance

    networks.entropy_model.quantize(y, z, t.expand(len(y)), policy)
    return found
