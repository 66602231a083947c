"""The optimizer over named groups of parameters, the learning rate over a run, and the clipping of gradients.

Matrices and convolutions follow Muon, which makes every direction of an update equally large; gains, biases,
linear paths and the ends of networks follow Adam.
"""

import dataclasses
import functools
import math

import torch
import torch.distributed as dist
from torch import nn

from networks.precision import has_bfloat16

WARM_UP = 0.03  # of the run
WARM_UP_AGAIN = 100  # steps of a run that goes on without its moments
MOST_NORM = 1.0  # of all clipped gradients together
MOMENTUM = 0.95  # of Muon
WEIGHT_DECAY = 0.1  # of Muon, as a share of the learning rate
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
    Group("network matrices", 1.0, clipped=True, orthogonal=True),
    Group("network", 0.5, clipped=True),
    # The analysis transform's trunk starts from trained weights; the other layers learn to use its features.
    Group("trunk matrices", 0.3, clipped=True, orthogonal=True),
    Group("trunk", 0.15, clipped=True),
    # What a network adds to its linear path starts at zero. At a higher rate it is noise at first, and the
    # fastest way to less noise is to turn the units before it off for good.
    Group("ends", 0.05, clipped=True),
    # The weights of the linear paths are small, and good before the first step.
    Group("linear", 0.05, clipped=True),
    # The entropy model's gradients are even from the start; clipped, they would follow those of the networks.
    Group("entropy matrices", 3.0, clipped=False, orthogonal=True),
    Group("entropy", 1.5, clipped=False),
)
ENDS = ("neck", "head")  # layers, of the transforms
TRUNK = ("conv1", "layer1", "layer2", "layer3")  # of the analysis transform
# Layers whose weights are no matrices to be mixed freely: what they give or take has a meaning of its own.
NOT_MIXED = ("analysis.conv1.weight", "entropy_model.last", "entropy_model.prediction")


def group_of(name: str, parameter: torch.Tensor) -> str:
    """The name of the group of a parameter of loss.RateDistortion; name: such as "analysis.linear.weight"."""
    module, layer, *_ = name.split(".")
    if layer == "linear":
        return "linear"
    if layer in ENDS:
        return "ends"
    part = "entropy" if module == "entropy_model" or layer == "hyper" else "network"
    part = "trunk" if layer in TRUNK else part
    is_matrix = name.endswith(".weight") and min(len(parameter), parameter[0].numel()) >= LEAST_SIDE
    return f"{part} matrices" if is_matrix and not name.startswith(NOT_MIXED) else part


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal, at the size of Adam's steps.

    Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the size and the weight
    decay, without which the weights grow for ever, are those of Liu et al. 2025, "Muon is scalable for LLM
    training". A convolution is a matrix, output channels by all the rest.
    """

    def __init__(self, groups: list[dict], lr: float):
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        """Move all parameters; those of one shape together, which is faster."""
        for group in self.param_groups:
            parameters, momenta = group["params"], self._momenta(group["params"])
            shapes = {}
            for parameter, momentum in zip(parameters, momenta):
                shape = len(parameter), parameter[0].numel()
                shapes.setdefault(shape, []).append((parameter, momentum))
            stacks = [torch.stack([step.reshape(shape) for _, step in shapes[shape]]) for shape in shapes]
            moved, steps = [], []
            for (shape, pairs), directions in zip(shapes.items(), in_shares(stacks)):
                directions = directions.float() * (0.2 * math.sqrt(max(shape)))
                moved += [parameter for parameter, _ in pairs]
                steps += [step.view(parameter.shape) for (parameter, _), step in zip(pairs, directions)]
            torch._foreach_add_(steps, moved, alpha=WEIGHT_DECAY)
            torch._foreach_mul_(steps, -group["lr"])
            torch._foreach_add_(moved, steps)

    def _momenta(self, parameters):
        """The gradients with Nesterov's momentum, in the parameters' shapes."""
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        return torch._foreach_lerp(gradients, momenta, MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (n, rows, columns), float32, with all singular values brought near one, bfloat16.

    By Newton and Schulz's iteration, with the coefficients of Jordan et al., in bfloat16, since the values
    need no more digits, and in float32 on a device that would only imitate it, thirty times as slowly.
    """
    x = matrices.bfloat16() if has_bfloat16(matrices.device) else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.float().flatten(1).norm(dim=1).view(-1, 1, 1).to(x.dtype) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, polynomial, x, beta=3.4445)
    return (x.mT if tall else x).bfloat16()


def in_shares(stacks: list[torch.Tensor]) -> list[torch.Tensor]:
    """`orthogonal` of each of the stacks, of whose matrices every process that trains does its share."""
    if not dist.is_initialized():
        return [orthogonal(stack) for stack in stacks]
    own, count = dist.get_rank(), dist.get_world_size()
    directions = [torch.empty_like(stack, dtype=torch.bfloat16) for stack in stacks]

    def share(tensors, rank):  # begins elsewhere in each stack, since many have one matrix
        return [tensor[(rank + number) % count :: count] for number, tensor in enumerate(tensors)]

    done = torch.cat([orthogonal(matrices).flatten() for matrices in share(stacks, own)])
    for rank in range(count):
        parts = share(directions, rank)
        sizes = [part.numel() for part in parts]
        values = done if rank == own else done.new_empty(sum(sizes))
        dist.broadcast(values.view(torch.uint8), rank)  # not every backend knows bfloat16
        for part, value in zip(parts, values.split(sizes)):
            part.copy_(value.view(part.shape))
    return directions


class Optimizer:
    """Muon and Adam as one optimizer, with a group for each of GROUPS that has parameters to train."""

    def __init__(self, module: nn.Module, lr: float, decay: float = 1.0):
        """module: a loss.RateDistortion; lr, decay: of the run, see settings.Settings."""
        self.decay = decay
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
        members = {True: [], False: []}
        for group, settings in zip(used, groups):
            members[group.orthogonal].append(settings)
        kinds = ((Muon, members[True]), (functools.partial(torch.optim.Adam, fused=True), members[False]))
        self._parts = [kind(its, lr=lr) for kind, its in kinds if its]

    @property
    def groups(self) -> list[dict]:
        """The groups of both."""
        return [group for part in self._parts for group in part.param_groups]

    def set_learning_rate(self, progress: float, again: int = WARM_UP_AGAIN):
        """Give each group its learning rate at `progress` in [0, 1].

        again: steps since a run went on without its moments, during the first WARM_UP_AGAIN of which the rate
        rises
        """
        share = learning_rate(progress, self.decay) * min(1, (again + 1) / WARM_UP_AGAIN)
        for group in self.groups:
            group["lr"] = group["peak"] * share

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


def learning_rate(progress: float, decay: float = 1.0) -> float:
    """The share of the peak at `progress` in [0, 1]: a short linear warm-up, and half a cosine at the end.

    decay: the share of the run that the cosine takes; between both the rate is constant
    """
    fallen = min(1, max(0, progress - (1 - decay)) / decay) if decay else 0
    return min(1, progress / WARM_UP + 0.01) * 0.5 * (1 + math.cos(math.pi * fallen))
