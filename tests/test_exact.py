"""Arithmetic that decides probabilities equals that of Python's integers, in any order and on any path."""
import copy
import fractions
import math

import numpy as np
import pytest
import torch

import exact
from conftest import build_pair
from context import pad

W, A = 2**exact.WEIGHT_BITS, 2**exact.ACTIVATION_BITS


def test_a_layer_equals_integer_arithmetic():
    torch.manual_seed(0)
    layer = exact.freeze(torch.nn.Conv2d(6, 5, 3))
    x = exact.settle(torch.randn(1, 6, 4, 4, dtype=torch.float64) * 1000)
    y = exact.settle(layer(x))
    weight, bias = ((p * W).long().tolist() for p in (layer.weight, layer.bias))
    pixels = (x[0] * A).long().tolist()
    for out in range(5):
        for row in range(2):
            for column in range(2):
                total = bias[out] * A + sum(weight[out][c][i][j] * pixels[c][row + i][column + j]
                                            for c in range(6) for i in range(3) for j in range(3))
                assert y[0, out, row, column].item() * A == round(fractions.Fraction(total, W))  # half to even, as torch


def test_extreme_values_do_not_round():
    """The largest weights and activations in as many terms as the bound allows."""
    layer = torch.nn.Conv2d(4096, 1, 1)
    torch.nn.init.constant_(layer.weight, 100)
    torch.nn.init.constant_(layer.bias, 0.3)
    exact.freeze(layer)
    x = torch.full((1, 4096, 1, 1), 1e9, dtype=torch.float64)
    x[:, ::2] = -1e9
    x = exact.settle(x)
    x[0, 1] -= 1 / A
    assert layer(x).item() == round(0.3 * W) / W - 8 / A


def test_powers_of_two_are_those_of_integers():
    steps = torch.arange(-400, 900)
    values = exact.power_of_two(steps.double() / 64)
    for step, value in zip(steps.tolist(), values.tolist()):
        assert value == pytest.approx(2 ** (step / 64), rel=3e-4)
        assert (value * W * 2 ** -(step >> 6)).is_integer()
    assert values[400:465:64].tolist() == [1, 2]
    assert all(r * W == math.floor(2 ** (i / 64) * W) for i, r in enumerate(exact.ROOTS.tolist()))


def test_the_logarithm_is_straight_between_powers_of_two():
    x = torch.tensor([0, 1, -1, 3, 7, -2, 5], dtype=torch.float64)
    assert exact.signed_log(x).tolist() == [0, 1, -1, 2, 3, -1.5, 2.5]


def test_training_in_float32_has_the_same_values_and_gradients():
    x = torch.linspace(-40, 40, 101, requires_grad=True)
    assert torch.allclose(exact.signed_log(x).double(), exact.signed_log(x.detach().double()), atol=1 / A)
    exact.signed_log(x).sum().backward()
    assert (x.grad[x != 0] > 0).all()


@pytest.fixture(scope="module")
def context():
    return build_pair("variable")[0].context


def parameters(context, z, b, t):
    features = context.features(z, t)
    return [p for index in range(4) for p in context.parameters_of(index, features, pad(b), t)]


@pytest.mark.filterwarnings("ignore:TF32")
def test_contexts_do_not_depend_on_threads_order_or_the_path_of_convolution(context):
    random = np.random.default_rng(0)
    z = torch.from_numpy(random.integers(-20, 20, (1, 3, 3, 4))).double()
    b = torch.from_numpy(random.integers(-900, 900, (1, 4, 12, 16))).double()
    t = torch.tensor([37 / 64], dtype=torch.float64)
    expected = parameters(context, z, b, t)

    threads = torch.get_num_threads()
    try:
        for count in 1, 2:
            torch.set_num_threads(count)
            assert all(map(torch.equal, parameters(context, z, b, t), expected))
    finally:
        torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=False):
        last = z.contiguous(memory_format=torch.channels_last)
        assert all(map(torch.equal, parameters(context, last, b, t), expected))

    # The same sums in another order: hidden channels change places.
    other = copy.deepcopy(context)
    order = torch.randperm(len(other.middle.bias), generator=torch.Generator().manual_seed(0))
    for layer in (*other.from_features, *other.from_neighbours):
        layer.weight.copy_(layer.weight[order])
        if layer.bias is not None:
            layer.bias.copy_(layer.bias[order])
    other.rate2.copy_(other.rate2[:, order])
    other.middle.weight.copy_(other.middle.weight[:, order])
    assert all(map(torch.equal, parameters(other, z, b, t), expected))


def test_everything_that_chooses_a_context_is_on_its_grid(context):
    z, b = torch.ones(1, 3, 1, 1).double(), torch.full((1, 4, 4, 4), 3.0).double()
    for p in parameters(context, z, b, torch.tensor([-1.25], dtype=torch.float64)):
        assert p.dtype == torch.float64 and torch.equal((p * A).round(), p * A)
