"""The optimizer over named groups of parameters, the learning rate over a run, and the clipping of gradients.

Matrices and convolutions follow Muon, which makes every direction of an update equally large; gains, biases,
linear paths and the ends of networks follow Adam.
"""

import dataclasses
import math

import torch
from torch import nn

WARM_UP = 0.03  # of the run
MOST_NORM = 1.0  # of all clipped gradients together
MOMENTUM = 0.95  # of Muon
LEAST_SIDE = 16  # rows and columns of a matrix that Muon is worth for


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of parameters.

    name: what they belong to
    share: their peak learning rate as a share of the run's
    clipped: whether their gradients count in the norm that is clipped, and are clipped with it
    orthogonal: whether they follow Muon
    """

    name: str
    share: float
    clipped: bool
    orthogonal: bool = False


GROUPS = (
    Group("network matrices", 2.0, clipped=True, orthogonal=True),
    # The last layers of the networks start at zero, so that early gradients are large.
    Group("network", 1.0, clipped=True),
    # The weights of the linear paths are small, and good before the first step.
    Group("linear", 0.03, clipped=True),
    # The entropy model's gradients are even from the start; clipped, they would follow those of the networks.
    Group("entropy matrices", 2.0, clipped=False, orthogonal=True),
    Group("entropy", 1.0, clipped=False),
)
# Layers whose weights are no matrices to be mixed freely: what they give or take has a meaning of its own.
ENDS = ("conv1.weight", "head.weight", "last", "prediction")


def group_of(name: str, parameter: torch.Tensor) -> str:
    """The name of the group of a parameter of loss.RateDistortion; name: such as "analysis.linear.weight"."""
    module, layer, *_ = name.split(".")
    if layer == "linear":
        return "linear"
    part = "entropy" if module == "entropy_model" or layer == "hyper" else "network"
    is_matrix = name.endswith(".weight") and min(len(parameter), parameter[0].numel()) >= LEAST_SIDE
    is_end = name.removeprefix(f"{module}.") in ENDS or layer in ENDS
    return f"{part} matrices" if is_matrix and not is_end else part


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal, at the size of Adam's steps.

    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the size is that of Liu et
    al. 2025, "Muon is scalable for LLM training". A convolution is a matrix, output channels by all the rest.
    """

    def __init__(self, groups: list[dict], lr: float):
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        """Move all parameters; those of one shape together, which is faster."""
        for group in self.param_groups:
            shapes = {}
            for parameter in group["params"]:
                shapes.setdefault((len(parameter), parameter[0].numel()), []).append(parameter)
            for (rows, columns), parameters in shapes.items():
                steps = torch.stack(
                    [self._momentum(parameter).reshape(rows, columns) for parameter in parameters]
                )
                size = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
                for parameter, step in zip(parameters, orthogonal(steps)):
                    parameter.add_(step.view(parameter.shape), alpha=-size)

    def _momentum(self, parameter):
        """The gradient with Nesterov's momentum, in the parameter's shape."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
        return parameter.grad.lerp(state["momentum"], MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (n, rows, columns) with all singular values brought near one, float32.

    By Newton and Schulz's iteration, with the coefficients of Jordan et al., in bfloat16: the values need no
    more digits.
    """
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.float().flatten(1).norm(dim=1).view(-1, 1, 1).bfloat16() + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if tall else x).float()


class Optimizer:
    """Muon and Adam as one optimizer, with a group for each of GROUPS that has parameters to train."""

    def __init__(self, module: nn.Module, lr: float):
        """module: a loss.RateDistortion; lr: the run's peak learning rate."""
        members = {group.name: [] for group in GROUPS}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                members[group_of(name, parameter)].append(parameter)
        used = [group for group in GROUPS if members[group.name]]
        groups = [
            {
                "params": members[group.name],
                "name": group.name,
                "peak": lr * group.share,
                "clipped": group.clipped,
            }
            for group in used
        ]
        follows_muon = [group.orthogonal for group in used]
        kinds = (
            (Muon, [group for group, muon in zip(groups, follows_muon) if muon]),
            (torch.optim.Adam, [group for group, muon in zip(groups, follows_muon) if not muon]),
        )
        self._parts = [kind(members, lr=lr) for kind, members in kinds if members]

    @property
    def groups(self) -> list[dict]:
        """The groups of both."""
        return [group for part in self._parts for group in part.param_groups]

    def set_learning_rate(self, progress: float):
        """Give each group its learning rate at `progress` in [0, 1]."""
        for group in self.groups:
            group["lr"] = group["peak"] * learning_rate(progress)

    def step(self):
        """Clip the gradients that are to be clipped, and move all parameters."""
        clipped = [parameter for group in self.groups if group["clipped"] for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(clipped, MOST_NORM)
        for part in self._parts:
            part.step()

    def zero_grad(self):
        """Forget all gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        """What a checkpoint keeps."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, saved: list[dict]):
        """Go on with the moments of a checkpoint, and with the groups and peaks that are here."""
        for part, theirs in zip(self._parts, saved, strict=True):
            own = part.state_dict()["param_groups"]
            part.load_state_dict({"state": theirs["state"], "param_groups": own})


def learning_rate(progress: float) -> float:
    """The share of the peak at `progress` in [0, 1]: a short linear warm-up, then half a cosine."""
    return min(1, progress / WARM_UP + 0.01) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
