"""Groups of parameters, the learning rate and clipping."""

import pytest
import torch

from conftest import build_transforms
from training import loss, optimizer


def groups_of(entropy_only):
    module = loss.RateDistortion(loss.Networks(*build_transforms("soft")), entropy_only)
    adam = optimizer.build_optimizer(module, 1e-3)
    return module, adam, {group["name"]: group for group in adam.param_groups}


def test_every_parameter_is_in_one_group_of_its_part():
    module, _, groups = groups_of(entropy_only=False)
    members = [id(parameter) for group in groups.values() for parameter in group["params"]]
    assert sorted(members) == sorted(id(parameter) for parameter in module.parameters())
    parts = {
        "network": module.synthesis.head.weight,
        "linear": module.analysis.linear.bias,
        "entropy": module.analysis.hyper[0].bias,
    }
    for name, parameter in parts.items():
        assert any(parameter is member for member in groups[name]["params"])
    assert {name: group["peak"] for name, group in groups.items()} == {
        "network": 1e-3,
        "linear": pytest.approx(3e-5),
        "entropy": 1e-3,
    }


@pytest.mark.parametrize("entropy_only", [False, True])
def test_gradients_of_the_entropy_model_are_never_clipped(entropy_only):
    _, adam, groups = groups_of(entropy_only)
    assert list(groups) == (["entropy"] if entropy_only else ["network", "linear", "entropy"])
    for group in groups.values():
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 10.0)
    optimizer.clip_gradients(adam)
    assert all((parameter.grad == 10).all() for parameter in groups["entropy"]["params"])
    clipped = [
        parameter.grad
        for name in ("network", "linear")
        if name in groups
        for parameter in groups[name]["params"]
    ]
    if clipped:
        assert torch.cat([grad.flatten() for grad in clipped]).norm() == pytest.approx(1, abs=1e-3)


def test_moments_are_restored_and_peaks_are_not():
    module, adam, _ = groups_of(entropy_only=True)
    sum(parameter.square().sum() for parameter in module.parameters() if parameter.requires_grad).backward()
    adam.step()
    other = optimizer.build_optimizer(module, 5e-3)
    optimizer.restore_optimizer(other, adam.state_dict())
    assert [group["peak"] for group in other.param_groups] == [5e-3]
    for parameter in adam.param_groups[0]["params"]:
        assert torch.equal(adam.state[parameter]["exp_avg"], other.state[parameter]["exp_avg"])


def test_the_learning_rate_rises_and_falls():
    shares = [optimizer.learning_rate(progress) for progress in (0, 0.01, 0.03, 0.5, 1)]
    assert shares == pytest.approx([0.01, 0.343, 1, 0.5, 0], abs=0.01)
