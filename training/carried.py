"""The long training from one machine to the next: its weights as small differences from the shipped pair.

    last.pt -> save -> carried.npz, some 10 MB, which is committed -> load -> the run goes on

The average of the weights is kept as differences from the shipped pair, and the weights themselves as
differences from the average, in 8 bits with a scale for each tensor. The moments of the optimizer are not
kept: `optimizer.py` warms up anew.
"""

import dataclasses
import hashlib
import json
import os
import zipfile

import numpy as np
import torch

from coding.errors import UserError
from coding.files import replacing
from engines import shipped
from training.stages import Stage
from training.start import networks_of_pair

FILE = "carried.npz"
_MOST = 127  # of a difference in 8 bits
_AVERAGE, _WEIGHTS = "average.", "weights."  # how names in the file begin
_MODULE = "module."  # how names in a checkpoint's average begin


@dataclasses.dataclass(frozen=True)
class Carried:
    """A run between two machines.

    stage: name of the stage that it is in
    step, elapsed: steps of it that are done, and seconds that they took
    weights, average: of the loss.Networks, by their names in a checkpoint
    """

    stage: str
    step: int
    elapsed: float
    weights: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]


def can_be_carried(stage: Stage) -> bool:
    """Whether the weights of a stage are all of the shipped pair's, and its run a long one."""
    return stage.settings["quantize_mode"] == "variable" and stage.settings.get("part", "all") == "all"


def save(folder: str, stage: str, checkpoint: dict):
    """Write the file of a run in `folder`; checkpoint: what last.pt of its stage holds. Raises OSError."""
    base, last = _shipped_weights(), checkpoint["model"]
    average = {name: checkpoint["average"][_MODULE + name] for name in base}
    scales, arrays = {}, {}
    for prefix, values, origin in (_AVERAGE, average, base), (_WEIGHTS, last, average):
        for name in base:
            arrays[prefix + name], scales[prefix + name] = _to_bytes(values[name] - origin[name])
            # What is read is what the weights are differences from.
            values[name] = origin[name] + _from_bytes(arrays[prefix + name], scales[prefix + name])
    fields = {
        "stage": stage,
        "step": checkpoint["step"],
        "elapsed": checkpoint["elapsed"],
        "base": _name_of(base),
        "scales": scales,
    }
    with replacing(os.path.join(folder, FILE)) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, fields=np.array(json.dumps(fields)), **arrays)


def load(folder: str) -> Carried | None:
    """The run in `folder`, or None if there is none; raises UserError for what is damaged or not for the
    shipped pair."""
    path = os.path.join(folder, FILE)
    if not os.path.exists(path):
        return None
    base = _shipped_weights()
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        fields = json.loads(str(arrays.pop("fields")))
        scales, name_of_base = fields["scales"], fields["base"]
        carried = {"stage": str(fields["stage"]), "step": int(fields["step"])}
        carried["elapsed"] = float(fields["elapsed"])
        if name_of_base == _name_of(base):
            average = _moved(base, arrays, scales, _AVERAGE)
            return Carried(**carried, average=average, weights=_moved(average, arrays, scales, _WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a whole carried state") from error
    raise UserError(f"{path}: a carried state for another shipped pair")


def _shipped_weights():
    """The weights of the shipped pair of variable mode, float32, by their names in a checkpoint."""
    networks, _ = networks_of_pair(os.path.dirname(shipped.path("variable", "decoder")))
    parts = {"analysis": networks.analysis, "synthesis": networks.synthesis}
    parts["entropy_model"] = networks.entropy_model
    return {
        f"{part}.{name}": value.detach().clone()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def _name_of(weights):
    """A hash over the names and values of weights."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _to_bytes(difference):
    """Differences as int8, and the scale of one of its steps."""
    scale = difference.abs().max().item() / _MOST
    steps = difference / scale if scale else difference
    return steps.round().to(torch.int8).contiguous().numpy(), scale


def _from_bytes(array, scale):
    return torch.from_numpy(array).float() * scale


def _moved(origin, arrays, scales, prefix):
    """Weights that are so far from those of `origin`; raises KeyError and ValueError where not all fit."""
    moved = {}
    for name, value in origin.items():
        array, scale = arrays[prefix + name], scales[prefix + name]
        if array.dtype != np.int8 or array.shape != tuple(value.shape) or not 0 <= scale < np.inf:
            raise ValueError("another size")
        moved[name] = value + _from_bytes(array, scale)
    return moved
