import math

import pytest
import torch

import quantize
from coding.latents import LARGEST
from coding.modes import MODES


@pytest.mark.parametrize("mode, B", [("hard", 2), ("soft", 10)])
def test_inference_rounds_to_the_formula(mode, B):
    assert MODES[mode].bits == B
    values = [-0.3, 0.0, 0.124, 0.125, 0.37499, 0.5, 0.875, 1.0, 1.7]
    expected = [min(max(math.floor(v * 2**B + 0.5), 0), 2**B) for v in values]
    b = quantize.quantize(torch.tensor(values, dtype=torch.float64), B)
    assert b.tolist() == expected


@pytest.mark.parametrize("B", [2, 10])
def test_dequantized_levels_are_fixed_points(B):
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


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_number_is_that_of_its_digits(count):
    most = (5**count - 1) // 2
    number = torch.arange(-most, most + 1.0)
    digits = quantize.split(number, count, 5)
    assert len(digits) == count and torch.stack(digits).abs().max() == 2
    assert torch.equal(quantize.join(digits, 5), number)


def test_components_that_share_an_integer_are_its_digits():
    digits, most = (1, 1, 0, 0, 1, 0), torch.tensor([512, 4, 4, 4, 15, 15])
    y = torch.stack([torch.zeros(6), most, -most, torch.tensor([7, 1, -2, 3, -1, 5])], 1).view(1, 6, 1, 4)
    b = quantize.to_integers(y, digits, 10)
    assert b.shape == (1, 3, 1, 4) and b.min() == 0 and b.max() == 2**10
    assert b[0, :, 0, 3].tolist() == [512 + 7, 512 + 81 - 2 * 9 + 3, 512 - 31 + 5]
    assert torch.equal(quantize.from_integers(b, digits, 10), y)


def test_real_latents_round_to_the_same_integers_by_the_formula():
    digits, B, limits = (1, 0, 1, 0, 0), 10, [15, 15, 4, 4, 4]
    y = torch.tensor([-62.4, -13.0, -2.4, -0.5, 0.2, 1.5, 12.49, 40.0]).view(1, 1, 1, -1)
    most = torch.tensor(limits).view(1, -1, 1, 1)
    y = y.repeat(1, len(digits), 1, 1).clamp(-most - 0.49, most + 0.49)
    f = quantize.dequantize(quantize.to_integers(y, digits, B), B)
    back = quantize.from_integers(quantize.quantize(f, B), digits, B)
    assert torch.equal(back, torch.floor(y + 0.5))


def around(log_scale):
    """Distances, a mean and a scale."""
    distance = torch.linspace(-3, 3, 601)
    return distance, torch.full_like(distance, 0.375), torch.full_like(distance, log_scale)


def test_the_dead_zone_is_wider_where_the_model_is_surer():
    zones = []
    for log_scale in -3.0, 0.0, 7.0:
        distance, mean, scale = around(log_scale)
        rounded = quantize.round_with_dead_zone(distance, mean, scale)
        assert torch.equal(rounded, -quantize.round_with_dead_zone(-distance, mean, scale))
        assert (rounded.abs() <= (distance.abs() + 0.5).floor()).all()
        assert ((distance - rounded).abs() <= 0.5 + quantize.LARGEST_DEAD_ZONE + 1e-6).all()
        zones.append(distance[rounded == 0].max())
        whole = torch.arange(-5.0, 6)
        assert torch.equal(
            quantize.round_with_dead_zone(whole, whole, torch.full_like(whole, log_scale)), whole
        )
    assert zones[0] > zones[1] + 0.1 > zones[2] + 0.1


def test_where_the_scale_is_small_every_distance_is_zero():
    policy = quantize.round_with_dead_zone
    assert not policy(*around(-4.0)).any() and policy(*around(0.0)).any()


@pytest.mark.parametrize("B", [2, 10])
def test_latents_become_integers_by_the_formula(B):
    distance, mean, scale = around(0.0)
    rounded = quantize.round_to_integers(distance, mean, scale, B)
    assert torch.equal(rounded + mean, torch.floor(distance + mean + 0.5))


def test_dealt_distances_are_within_what_their_integers_hold():
    plain, dealt = (quantize.policies(kind, 2) for kind in ("distances", "dealt"))
    for log_scale, most in (-4.0, 0), (-2.7, 0), (-2.5, 2), (-0.9, 2), (-0.5, 12), (4.0, 312):
        distance = torch.linspace(-500, 500, 601)
        arguments = distance, torch.zeros(601), torch.full((601,), log_scale)
        found = dealt.round(*arguments)
        assert torch.equal(found, plain.round(*arguments).clamp(-most, most))
        assert found.abs().max() == most
        assert (dealt.limit(arguments[2]) == most).all()


def test_the_limit_of_distances_is_zero_where_the_scale_is_small():
    limits = quantize.policies("distances", 10).limit(torch.tensor([-4.0, 0.0]))
    assert limits.tolist() == [0, LARGEST]


def test_bits_are_measured_on_what_is_rounded_or_on_noise():
    distance = torch.full((1000,), 0.3)
    assert torch.equal(quantize.as_rounded(distance, distance.round()), torch.zeros(1000))
    noisy = quantize.with_noise(distance, distance.round())
    assert (noisy - distance).abs().max() <= 0.5 and noisy.std() > 0.2
