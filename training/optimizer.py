"""Adam over named groups of parameters, the learning rate over a run, and the clipping of gradients."""

import dataclasses
import math

import torch
from torch import nn

WARM_UP = 0.03  # of the run
MOST_NORM = 1.0  # of all clipped gradients together


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of parameters.

    name: what they belong to
    share: their peak learning rate as a share of the run's
    clipped: whether their gradients count in the norm that is clipped, and are clipped with it
    """

    name: str
    share: float
    clipped: bool


GROUPS = (
    # The last layers of the networks start at zero, so that early gradients are large.
    Group("network", 1.0, clipped=True),
    # The weights of the linear paths are small, and good before the first step.
    Group("linear", 0.03, clipped=True),
    # The entropy model's gradients are even from the start; clipped, they would follow those of the networks.
    Group("entropy", 1.0, clipped=False),
)


def group_of(parameter: str) -> str:
    """The name of the group of a parameter of loss.RateDistortion, such as "analysis.linear.weight"."""
    module, part = parameter.split(".")[:2]
    if module == "entropy_model" or part == "hyper":
        return "entropy"
    return "linear" if part == "linear" else "network"


def build_optimizer(module: nn.Module, lr: float) -> torch.optim.Adam:
    """Adam with a group for each of GROUPS that has parameters to train; lr: the run's peak learning rate."""
    members = {group.name: [] for group in GROUPS}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            members[group_of(name)].append(parameter)
    groups = [
        {
            "params": members[group.name],
            "name": group.name,
            "peak": lr * group.share,
            "clipped": group.clipped,
        }
        for group in GROUPS
        if members[group.name]
    ]
    return torch.optim.Adam(groups, lr=lr)


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict):
    """Go on with the moments of a saved state_dict, and with the groups and peaks that the optimizer has."""
    own = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": own})


def learning_rate(progress: float) -> float:
    """The share of the peak at `progress` in [0, 1]: a short linear warm-up, then half a cosine."""
    return min(1, progress / WARM_UP + 0.01) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


def set_learning_rate(optimizer: torch.optim.Optimizer, progress: float):
    """Give each group its learning rate at `progress` in [0, 1]."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * learning_rate(progress)


def clip_gradients(optimizer: torch.optim.Optimizer):
    """Scale the gradients of the clipped groups down to a norm of MOST_NORM where theirs is larger."""
    clipped = [group["params"] for group in optimizer.param_groups if group["clipped"]]
    torch.nn.utils.clip_grad_norm_([parameter for group in clipped for parameter in group], MOST_NORM)
