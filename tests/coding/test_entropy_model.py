"""The entropy model as it codes: exact, and the network that was trained."""

import numpy as np
import pytest
import torch

from coding import entropy_model, exact, tiles
from coding.entropy_model import EntropyModel
from coding.walk import Canvas
from conftest import build_files
from networks.entropy_model import network_of

A = 2**exact.ACTIVATION_BITS


@pytest.fixture(scope="module")
def model():
    return build_files("variable")[0].coder.entropy_model


def parameters(model, y, z, t):
    """Mean and scale of everything, with latents y known in full."""
    canvas, everywhere = Canvas(*y.shape[:2], model.slices), np.arange(y[:, :, 0].size)
    for index, part in enumerate(np.split(y.reshape(len(everywhere), -1), len(model.slices), 1)):
        canvas.put(index, everywhere, part)
    features = model.features(z, t)
    features = features.reshape(-1, features.shape[2])
    result = list(model.hyper_parameters(t))
    for step in model.steps:
        positions = canvas.positions(step.places, 0, canvas.rows)
        result += model.parameters_of(step, features[positions], canvas, positions, t)
    return result


def random_latents():
    random = np.random.default_rng(0)
    return random.integers(-9000, 9000, (12, 16, 5)) / 16, random.integers(-20, 20, (3, 4, 3)).astype(float)


@pytest.mark.parametrize("factor", [1, 1.1])
def test_sums_do_not_depend_on_their_order(model, factor):
    """Those of weights that are on no grid do."""
    weights = {name: np.float32(factor) * weight for name, weight in model.weights.items()}
    random, are_equal = np.random.default_rng(0), []
    for name in (name.removesuffix(".weight") for name in weights if name.startswith("from_known")):
        inputs = random.integers(-2048, 2048, (100, weights[f"{name}.weight"].shape[1])) / np.float32(64)
        order = random.permutation(inputs.shape[1])
        changed = weights | {f"{name}.weight": weights[f"{name}.weight"][:, order]}
        one = EntropyModel(model.slices, weights)._layer(name, inputs)
        other = EntropyModel(model.slices, changed)._layer(name, inputs[:, order])
        are_equal.append(np.array_equal(one, other))
    assert len(are_equal) > 5 and (all(are_equal) if factor == 1 else not any(are_equal))


def test_contexts_do_not_depend_on_the_order_of_sums(model):
    """Hidden channels change places."""
    y, z = random_latents()
    order, weights = np.random.default_rng(0).permutation(8), dict(model.weights)
    for name, weight in weights.items():
        if name.startswith(("from_features", "from_known", "residual2")):
            weights[name] = weight[order]
        elif name.startswith("rate2"):
            weights[name] = weight[:, order]
        if name.startswith(("residual1", "last")) and weight.ndim == 2:
            weights[name] = weight[:, order]
    other = parameters(EntropyModel(model.slices, weights), y, z, 37 / 64)
    assert all(map(np.array_equal, other, parameters(model, y, z, 37 / 64)))


def test_bands_of_a_convolution_and_float64_give_the_same(model, monkeypatch):
    y, z = random_latents()
    expected = parameters(model, y, z, 37 / 64)
    monkeypatch.setattr(entropy_model, "BAND", 1)
    monkeypatch.setattr(exact, "whole_dtype", lambda: np.float64)
    other = EntropyModel(model.slices, model.weights)
    assert all(map(np.array_equal, parameters(other, y, z, 37 / 64), expected))


def test_everything_that_chooses_a_context_is_on_its_grid(model):
    for p in parameters(model, np.full((4, 4, 5), 3.25), np.ones((1, 1, 3)), -1.25):
        assert p.dtype == np.float64 and np.array_equal(np.rint(p * A), p * A)


def test_it_is_the_network_that_was_trained(model):
    y, z = random_latents()
    y /= 16
    network, t = network_of(model, build_files("variable")[0].config), torch.tensor([37 / 64])
    with torch.no_grad():
        features = network.features(torch.from_numpy(tiles.to_input(z)), t)
        theirs = [p[0, 0] for p in network.hyper_parameters(t)]
    assert np.allclose(tiles.from_output(features.numpy()), model.features(z, 37 / 64), atol=0.1)
    assert all(np.allclose(p, q, atol=0.01) for p, q in zip(theirs, model.hyper_parameters(37 / 64)))


@pytest.mark.parametrize("mode", ["hard", "soft", "variable"])
def test_the_shapes_of_weights_are_those_of_the_network(mode):
    file = build_files(mode)[0]
    network = network_of(file.coder.entropy_model, file.config)
    shapes = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    assert shapes == entropy_model.weight_shapes(
        file.config.slices, file.config.entropy_widths, file.config.mode.tunes
    )
