import math

import pytest
import torch

import quantize


@pytest.mark.parametrize("mode, B", [("hard", 2), ("soft", 10)])
def test_inference_rounds_to_the_formula(mode, B):
    assert quantize.BITS[mode] == B
    values = [-0.3, 0.0, 0.124, 0.125, 0.37499, 0.5, 0.875, 1.0, 1.7]
    expected = [min(max(math.floor(v * 2**B + 0.5), 0), 2**B) for v in values]
    b = quantize.quantize(torch.tensor(values, dtype=torch.float64), B)
    assert b.tolist() == expected


@pytest.mark.parametrize("B", [2, 10])
def test_dequantised_levels_are_fixed_points(B):
    b = torch.arange(2**B + 1.0)
    assert torch.equal(quantize.quantize(quantize.dequantize(b, B), B), b)


@pytest.mark.parametrize("B", [2, 10])
def test_noise_is_uniform_one_step_wide_and_centred(B):
    torch.manual_seed(0)
    f = torch.full((100_000,), 0.4)
    noise = (quantize.add_noise(f, B) - f) * 2**B
    assert noise.abs().max() <= 0.5 + 1e-3
    assert abs(noise.mean()) < 0.01
    assert abs(noise.var() - 1 / 12) < 0.002


def test_straight_through_has_the_values_of_the_one_and_the_gradient_of_the_other():
    v = torch.tensor([-0.2, 0.1, 0.7], requires_grad=True)
    rounded = quantize.straight_through(v.round(), v)
    assert rounded.tolist() == [0, 0, 1]
    (rounded * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert v.grad.tolist() == [1, 2, 3]


def test_digits_carry_what_one_latent_cannot():
    y = torch.tensor([-62.4, -13.0, -2.4, 0.2, 1.7, 12.49, 40.0]).view(1, 1, 1, -1).repeat(1, 3, 1, 1)
    z = quantize.split_digits(y, (3, 2, 1), 2)
    assert z.shape == (1, 6, 1, 7)
    assert torch.allclose(quantize.join_digits(z, (3, 2, 1), 2), y, atol=1e-5)
    f = 0.5 + z / 4
    rounded = (quantize.dequantize(quantize.quantize(f, 2), 2) - 0.5) * 4
    joined = quantize.join_digits(rounded, (3, 2, 1), 2)
    for component, largest in enumerate([62, 12, 2]):
        assert torch.equal(joined[0, component], torch.floor(y[0, component] + 0.5).clamp(-largest, largest))


def test_the_dead_zone_is_wider_where_the_model_is_surer():
    v = torch.linspace(-3, 3, 601)
    for log_scale in -3.0, 0.0, 7.0:
        b = quantize.round_to_zero(v, torch.tensor(log_scale))
        assert torch.equal(b, -quantize.round_to_zero(-v, torch.tensor(log_scale)))
        assert (b.abs() <= (v.abs() + 0.5).floor()).all() and ((v - b).abs() <= 0.5 + quantize.LARGEST_DEAD_ZONE + 1e-6).all()
    zones = [v[quantize.round_to_zero(v, torch.tensor(log_scale)) == 0].max() for log_scale in (-3.0, 0.0, 7.0)]
    assert zones[0] > zones[1] + 0.1 > zones[2] + 0.1
    assert torch.equal(quantize.round_to_zero(torch.arange(-5.0, 6), torch.tensor(-3.0)), torch.arange(-5.0, 6))
