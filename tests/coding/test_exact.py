"""Arithmetic that decides probabilities equals that of Python's integers."""

import fractions
import math

import numpy as np
import pytest
import torch

from coding import exact
from coding.walk import Canvas
from networks import relaxed

W, A = 2**exact.WEIGHT_BITS, 2**exact.ACTIVATION_BITS


def test_products_in_float64_equal_integer_arithmetic():
    random = np.random.default_rng(0)
    weight = exact.freeze(random.normal(0, 1, (5, 54)))
    x = exact.settle(random.normal(0, 1000, (7, 54)))
    y = exact.settle(x @ weight.T)
    integers = (x * A).astype(int).astype(object) @ (weight.T * W).astype(int).astype(object)
    for got, total in zip(y.ravel(), integers.ravel()):
        assert got * A == round(fractions.Fraction(total, W))  # half to even, as numpy


def test_extreme_values_do_not_round():
    """The largest weights and activations in as many terms as the bound allows."""
    weight, bias = exact.freeze(np.full(4096, 100.0)), exact.freeze(np.array(0.3))
    x = np.full(4096, 1e9)
    x[::2] = -1e9
    x = exact.settle(x)
    x[1] -= 1 / A
    assert x @ weight + bias == round(0.3 * W) / W - 8 / A


@pytest.mark.parametrize("size", [0.05, 3, 60_000])
def test_a_float32_layer_equals_integer_arithmetic(size):
    """Inputs of the largest magnitude that `activate` and `signed_log` give, of both signs, in as many terms
    as are used."""
    random = np.random.default_rng(0)
    weight = random.uniform(-1, 1, (7, 864)) * size
    weight, bias = exact.freeze_rows(weight, random.uniform(-1, 1, 7))
    x = random.uniform(-1, 1, (5, 864))
    x[0] = np.sign(weight[0])  # as far from zero as it goes
    x = np.rint(x * exact.MOST_INPUT * 64) / 64
    y = x.astype(np.float32) @ weight.astype(np.float32).T + bias.astype(np.float32)
    assert y.dtype == np.float32
    for row in range(5):
        for out in range(7):
            terms = [fractions.Fraction(w) * fractions.Fraction(v) for w, v in zip(weight[out], x[row])]
            assert sum(terms) + fractions.Fraction(bias[out]) == fractions.Fraction(float(y[row, out]))


def test_large_float32_products_equal_those_of_float64():
    """In the shapes of the shipped model, where libraries divide the work in other ways than for small
    ones."""
    random = np.random.default_rng(0)
    weight, _ = exact.freeze_rows(random.uniform(-0.03, 0.03, (160, 864)), np.zeros(160))
    x = np.rint(random.uniform(-32, 32, (1536, 864)) * 64) / 64
    assert np.array_equal(x.astype(np.float32) @ weight.astype(np.float32).T, x @ weight.T)


@pytest.mark.parametrize("bits", [8, 11])  # of bfloat16 and of TF32
def test_the_loss_of_digits_is_noticed(monkeypatch, bits):
    class Losing(np.ndarray):
        def __matmul__(self, other):
            return lose(self) @ lose(np.asarray(other))

    def lose(x):
        mantissa, exponent = np.frexp(np.asarray(x))
        return np.ldexp(np.rint(mantissa * 2**bits) / 2**bits, exponent)

    assert exact.whole_dtype() == np.float32
    full = np.full
    monkeypatch.setattr(exact.np, "full", lambda *args: full(*args).view(Losing))
    assert exact.whole_dtype.__wrapped__() == np.float64


def test_what_is_frozen_stays_as_it_is_and_half_precision_holds_it():
    random = np.random.default_rng(0)
    weight, bias = (random.normal(0, 2, shape).astype(np.float16) for shape in ((9, 40), 9))
    rows = exact.freeze_rows(weight, bias)
    again = exact.freeze_rows(*(part.astype(np.float16) for part in rows))
    assert all(map(np.array_equal, rows, again))
    plain = exact.freeze(weight)
    assert np.array_equal(exact.freeze(plain.astype(np.float16)), plain)


def test_powers_of_two_are_those_of_integers():
    steps = np.arange(-400, 900)
    values = exact.power_of_two(steps / 64)
    for step, value in zip(steps.tolist(), values.tolist()):
        assert value == pytest.approx(2 ** (step / 64), rel=3e-4)
        assert (value * W * 2 ** -(step >> 6)).is_integer()
    assert values[400:465:64].tolist() == [1, 2]
    assert all(r * W == math.floor(2 ** (i / 64) * W) for i, r in enumerate(exact.ROOTS.tolist()))


def test_the_logarithm_is_straight_between_powers_of_two():
    x = np.array([0, 1, -1, 3, 7, -2, 5], np.float64)
    assert exact.signed_log(x).tolist() == [0, 1, -1, 2, 3, -1.5, 2.5]


def test_training_has_the_same_values_and_gradients():
    x = torch.linspace(-40, 40, 101, requires_grad=True)
    y = relaxed.signed_log(x)
    assert np.allclose(y.detach(), exact.signed_log(x.detach().double().numpy()), atol=2**-exact.INPUT_BITS)
    y.sum().backward()
    assert (x.grad > 0).all()
    values = np.linspace(-60, 60, 50)
    for name, function in ("activate", relaxed.activate), ("settle", relaxed.settle):
        assert np.allclose(
            getattr(exact, name)(values.copy()), function(torch.from_numpy(values)), atol=2**-6
        )
    coefficients, t = np.array([[3.0, -1], [0.5, 2], [0.25, -4]]), 37 / 64
    expected = relaxed.polynomial(torch.from_numpy(coefficients), torch.tensor([t], dtype=torch.float64))
    assert np.allclose(exact.polynomial(coefficients, t), expected.flatten(), atol=1 / A)


def test_the_canvas_holds_every_latent_exactly():
    """The largest latents that a file may hold, and the finest differences between means."""
    values = np.array([[2.0**15 - 1 / A], [-(2.0**15)], [1 / A], [-3 - 1 / A]])
    canvas = Canvas(2, 2, (1,))
    canvas.put(0, np.arange(4), values)
    assert np.array_equal(canvas.latents().reshape(4, 1), values)
    logs = canvas.logs_around(((0, ((0, 0),)),), np.arange(4))
    assert np.array_equal(logs, exact.signed_log(values))
