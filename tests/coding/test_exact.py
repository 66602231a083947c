"""Arithmetic that decides probabilities equals that of Python's integers, in any order and on any path."""

import copy
import fractions
import math

import numpy as np
import pytest
import torch

from coding import exact
from coding.order import Canvas
from conftest import build_pair

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
                total = bias[out] * A + sum(
                    weight[out][c][i][j] * pixels[c][row + i][column + j]
                    for c in range(6)
                    for i in range(3)
                    for j in range(3)
                )
                assert y[0, out, row, column].item() * A == round(
                    fractions.Fraction(total, W)
                )  # half to even, as torch


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


@pytest.mark.parametrize("size", [0.05, 3, 60_000])
def test_a_float32_layer_equals_integer_arithmetic(size):
    """Inputs of the largest magnitude that `activate` and `signed_log` give, of both signs, in as many terms
    as are used."""
    torch.manual_seed(0)
    layer = exact.Linear(864, 7)
    layer.weight.data.mul_(size / layer.weight.data.abs().max())
    exact.freeze(layer)
    x = torch.rand(5, 864, dtype=torch.float64) * 2 - 1
    x[0] = layer.weight[0].sign()  # as far from zero as it goes
    x = (x * exact.MOST_INPUT * 64).round() / 64
    y = layer(x)
    assert layer.weight.dtype == torch.float32 and y.dtype == torch.float64
    for row in range(5):
        for out in range(7):
            terms = [
                fractions.Fraction(w) * fractions.Fraction(v)
                for w, v in zip(layer.weight[out].tolist(), x[row].tolist())
            ]
            assert sum(terms) + fractions.Fraction(layer.bias[out].item()) == fractions.Fraction(
                y[row, out].item()
            )
    error = torch.nn.functional.linear(x, layer.weight.double(), layer.bias.double()) - y
    assert not error.any()


def test_large_float32_products_equal_those_of_float64():
    """In the shapes of the shipped model, where libraries divide the work in other ways than for small
    ones."""
    torch.manual_seed(0)
    layer = exact.freeze(exact.Linear(864, 160))
    x = (torch.rand(1, 1536, 864, dtype=torch.float64) * 64 - 32).mul(64).round().div(64)
    expected = torch.nn.functional.linear(x, layer.weight.double(), layer.bias.double())
    threads = torch.get_num_threads()
    try:
        for count in 1, 2:
            torch.set_num_threads(count)
            assert torch.equal(layer(x), expected)
    finally:
        torch.set_num_threads(threads)


def test_where_float32_gives_up_digits_float64_gives_the_same(monkeypatch):
    """PyTorch can be told to multiply float32 in bfloat16, on processors that do."""
    entropy_model = build_pair("variable")[0].coder.entropy_model
    z, y = (
        torch.ones(1, 3, 2, 2).double(),
        torch.linspace(-90, 90, 5 * 64, dtype=torch.float64).view(1, 5, 8, 8),
    )
    expected = parameters(exact.suit(entropy_model), y, z, torch.zeros(1, dtype=torch.float64))
    assert torch.float32 in {p.dtype for p in entropy_model.parameters()}
    monkeypatch.setattr(exact, "float32_is_whole", lambda: False)
    other = exact.suit(copy.deepcopy(entropy_model))
    assert {p.dtype for p in other.parameters()} == {torch.float64}
    assert all(map(torch.equal, parameters(other, y, z, torch.zeros(1, dtype=torch.float64)), expected))


@pytest.mark.parametrize("bits", [8, 11])  # of bfloat16 and of TF32
def test_the_loss_of_digits_is_noticed(monkeypatch, bits):
    def lose(x):
        mantissa, exponent = torch.frexp(x)
        return torch.ldexp((mantissa * 2**bits).round() / 2**bits, exponent)

    assert exact.float32_is_whole()
    linear = torch.nn.functional.linear
    monkeypatch.setattr(exact.F, "linear", lambda x, w: linear(lose(x), lose(w)))
    assert not exact.float32_is_whole()


def test_a_model_that_is_frozen_again_is_the_same():
    entropy_model = build_pair("variable")[0].coder.entropy_model
    again = exact.freeze(exact.thaw(copy.deepcopy(entropy_model)))
    halved = exact.thaw(copy.deepcopy(entropy_model))
    halved.load_state_dict({name: t.half().float() for name, t in halved.state_dict().items()})
    for other in again, exact.freeze(halved):
        assert all(torch.equal(p, q) for p, q in zip(entropy_model.parameters(), other.parameters()))


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
    assert torch.allclose(
        exact.signed_log(x).double(), exact.signed_log(x.detach().double()), atol=2**-exact.INPUT_BITS
    )
    exact.signed_log(x).sum().backward()
    assert (x.grad[x != 0] > 0).all()


@pytest.fixture(scope="module")
def entropy_model():
    return build_pair("variable")[0].coder.entropy_model


def parameters(entropy_model, y, z, t):
    """Mean and scale of everything, with latents y known in full, as a flat list."""
    canvas = Canvas(1, *y.shape[2:], entropy_model.slices)
    everywhere = torch.arange(y[0, 0].numel())
    for index, part in enumerate(y.split(entropy_model.slices, 1)):
        with torch.no_grad():
            canvas.put(index, everywhere, part.flatten(2).transpose(1, 2))
    features = entropy_model.features(z, t).flatten(2).transpose(1, 2)
    result = list(entropy_model.hyper_parameters(t))
    for step in entropy_model.steps:
        positions = canvas.positions(step.places, 0, canvas.rows)
        result += entropy_model.parameters_of(step, features[:, positions], canvas, positions, t)
    return result


@pytest.mark.filterwarnings("ignore:TF32")
def test_contexts_do_not_depend_on_threads_order_or_the_path_of_convolution(entropy_model):
    random = np.random.default_rng(0)
    z = torch.from_numpy(random.integers(-20, 20, (1, 3, 3, 4))).double()
    y = torch.from_numpy(random.integers(-9000, 9000, (1, 5, 12, 16))).double() / 16
    t = torch.tensor([37 / 64], dtype=torch.float64)
    expected = parameters(entropy_model, y, z, t)

    threads = torch.get_num_threads()
    try:
        for count in 1, 2:
            torch.set_num_threads(count)
            assert all(map(torch.equal, parameters(entropy_model, y, z, t), expected))
    finally:
        torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=False):
        last = z.contiguous(memory_format=torch.channels_last)
        assert all(map(torch.equal, parameters(entropy_model, y, last, t), expected))

    # The same sums in another order: hidden channels change places.
    other = copy.deepcopy(entropy_model)
    order = torch.randperm(entropy_model.last[0].in_features, generator=torch.Generator().manual_seed(0))
    for layer in (*other.from_features, *other.from_known, *other.residual2):
        layer.weight.copy_(layer.weight[order])
        if layer.bias is not None:
            layer.bias.copy_(layer.bias[order])
    for coefficients in other.rate2:
        coefficients.copy_(coefficients[:, order])
    for layer in (*other.residual1, *other.last):
        layer.weight.copy_(layer.weight[:, order])
    assert all(map(torch.equal, parameters(other, y, z, t), expected))


def test_everything_that_chooses_a_context_is_on_its_grid(entropy_model):
    z, y = torch.ones(1, 3, 1, 1).double(), torch.full((1, 5, 4, 4), 3.25).double()
    for p in parameters(entropy_model, y, z, torch.tensor([-1.25], dtype=torch.float64)):
        assert p.dtype == torch.float64 and torch.equal((p * A).round(), p * A)


def test_the_canvas_holds_every_latent_exactly(entropy_model):
    """The largest latents that a file may hold, and the finest differences between means."""
    values = torch.tensor([2.0**15 - 1 / A, -(2.0**15), 1 / A, -3 - 1 / A], dtype=torch.float64).view(1, 4, 1)
    canvas = Canvas(1, 2, 2, (1,))
    with torch.no_grad():
        canvas.put(0, torch.arange(4), values)
    assert torch.equal(canvas.latents().double().view(1, 4, 1), values)
    logs = canvas.logs_around(((0, ((0, 0),)),), torch.arange(4))
    assert torch.equal(logs.double(), exact.signed_log(values))
