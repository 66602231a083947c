"""Groups of parameters, the learning rate, clipping and Muon."""

import copy

import pytest
import torch

import model
from conftest import build_transforms
from training import loss, optimizer


def groups_of(part):
    networks = loss.Networks.untrained(model.default_config("soft"))
    module = loss.RateDistortion(networks, part)
    both = optimizer.Optimizer(module, 1e-3)
    return module, both, {group["name"]: group for group in both.groups}


def test_every_parameter_is_in_one_group_of_its_part():
    module, _, groups = groups_of("all")
    members = [id(parameter) for group in groups.values() for parameter in group["params"]]
    assert sorted(members) == sorted(id(parameter) for parameter in module.parameters())
    parts = {
        "network matrices": module.analysis.added1[0].conv1.weight,
        "network": module.synthesis.modulation.coefficients,
        "trunk matrices": module.analysis.layer1[0].conv1.weight,
        "trunk": module.analysis.conv1.weight,
        "ends": module.synthesis.head.weight,
        "linear": module.analysis.linear.bias,
        "entropy matrices": module.analysis.hyper[0].weight,
        "entropy": module.entropy_model.last[0].weight,
    }
    for name, parameter in parts.items():
        assert any(parameter is member for member in groups[name]["params"])
    assert {name: group["peak"] for name, group in groups.items()} == {
        "network matrices": 1e-3,
        "network": 5e-4,
        "trunk matrices": pytest.approx(3e-4),
        "trunk": pytest.approx(1.5e-4),
        "ends": pytest.approx(5e-5),
        "linear": pytest.approx(5e-5),
        "entropy matrices": 3e-3,
        "entropy": 1.5e-3,
    }


@pytest.mark.parametrize("part", ["all", "decoder", "entropy"])
def test_gradients_of_the_entropy_model_are_never_clipped(part):
    _, both, groups = groups_of(part)
    assert {"entropy", "entropy matrices"} <= set(groups) and ("network" in groups) == (part != "entropy")
    both.set_learning_rate(0.5)
    for group in groups.values():
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 10.0)
    both.step()
    clipped = [parameter for group in groups.values() if group["clipped"] for parameter in group["params"]]
    free = [parameter for group in groups.values() if not group["clipped"] for parameter in group["params"]]
    assert all((parameter.grad == 10).all() for parameter in free)
    if clipped:
        norm = torch.cat([parameter.grad.flatten() for parameter in clipped]).norm()
        assert norm == pytest.approx(1, abs=0.01)


def test_moments_are_restored_and_peaks_are_not():
    module = loss.RateDistortion(loss.Networks(*build_transforms("variable")))
    both = optimizer.Optimizer(module, 1e-3)

    def step(both, module):
        both.set_learning_rate(0.5)
        both.zero_grad()
        sum(parameter.square().sum() for parameter in module.parameters()).backward()
        both.step()

    step(both, module)
    other_module = copy.deepcopy(module)
    other = optimizer.Optimizer(other_module, 5e-3)
    other.load_state_dict(copy.deepcopy(both.state_dict()))  # as a file gives it
    peaks = [5 * group["peak"] for group in both.groups]
    assert [group["peak"] for group in other.groups] == pytest.approx(peaks)
    for group in other.groups:
        group["peak"] /= 5
    step(both, module)
    step(other, other_module)
    for ours, theirs in zip(module.parameters(), other_module.parameters()):
        assert torch.allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("has_bfloat16", [False, True])
@pytest.mark.parametrize("shape", [(1, 20, 50), (3, 64, 16)])
def test_orthogonal_matrices_have_singular_values_near_one(shape, has_bfloat16, monkeypatch):
    monkeypatch.setattr(optimizer, "has_bfloat16", lambda device: has_bfloat16)
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    result = optimizer.orthogonal(matrices)
    assert result.dtype == torch.bfloat16  # which processes send each other
    result = result.float()
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6 and values.max() < 1.3
    # The directions stay: beside the nearest orthogonal matrices the result lies close.
    assert torch.nn.functional.cosine_similarity(result.flatten(1), (left @ right).flatten(1)).min() > 0.97


def test_muon_goes_down_a_slope_of_unlike_steepness():
    """Along all directions, though gradients along them differ by four orders of magnitude."""
    random = torch.Generator().manual_seed(0)
    target, scale = torch.randn(32, 32, generator=random), torch.logspace(-2, 0, 32)[:, None]
    weight = torch.nn.Parameter(torch.zeros(32, 32))
    muon = optimizer.Muon([{"params": [weight]}], lr=0.1)
    for _ in range(200):
        muon.zero_grad()
        (scale * (weight - target)).square().sum().backward()
        muon.step()
    assert (weight - target).square().mean() < 0.1 * target.square().mean()


def test_the_learning_rate_rises_and_falls():
    shares = [optimizer.learning_rate(progress) for progress in (0, 0.01, 0.03, 0.5, 1)]
    assert shares == pytest.approx([0.01, 0.343, 1, 0.5, 0], abs=0.01)


def test_the_learning_rate_may_be_constant_before_it_falls():
    shares = [optimizer.learning_rate(progress, decay=0.2) for progress in (0, 0.03, 0.8, 0.9, 1, 1.1)]
    assert shares == pytest.approx([0.01, 1, 1, 0.5, 0, 0])
    assert optimizer.learning_rate(1, decay=0) == 1
