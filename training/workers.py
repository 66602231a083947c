"""The processes that train together, and the signals that end them."""

import gc
import importlib
import os
import signal

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Workers:
    """The processes of `torchrun`, or this one alone.

    rank: number of this process, from 0
    count: number of processes
    device: torch.device of this process
    """

    def __init__(self, device: str):
        """device: "cpu" or "cuda"."""
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = torch.device(device, int(os.environ.get("LOCAL_RANK", 0)) if device == "cuda" else None)
        if self.count > 1:
            # Its functions hold the group that is there at their import for ever, and DistributedDataParallel
            # imports it. A group that outlives `close` has threads that may end the process with an abort.
            importlib.import_module("torch.distributed.nn")
            if device == "cuda":
                torch.cuda.set_device(self.device)
            dist.init_process_group("nccl" if device == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process is the one that measures, tells and writes."""
        return self.rank == 0

    def most(self, *values: float) -> tuple[float, ...]:
        """The largest of each value over all processes, so that they decide alike."""
        if self.count == 1:
            return values
        values = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return tuple(values.tolist())

    def wait(self):
        """Go on when all processes are here."""
        self.most(0.0)

    def gather(self, values: list) -> list:
        """The values of all processes in one list, the same in each of them."""
        if self.count == 1:
            return values
        lists = [None] * self.count
        dist.all_gather_object(lists, values)
        return [value for each in lists for value in each]

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module to train: it averages gradients over all processes."""
        return DistributedDataParallel(module) if self.count > 1 else module

    def close(self):
        """Leave the others, at the end, when no module of `wrap` is needed any more."""
        if self.count > 1:
            dist.destroy_process_group()
            gc.collect()  # a module that is only in circles holds the group too


class Interrupt:
    """Notes Ctrl-C and a request to end, so that the step in progress is finished; the second ends at once.

    A context, after which they do again what they did before.

    came: whether there was one
    """

    def __init__(self):
        self.came, self._before = False, {}

    def __enter__(self) -> "Interrupt":
        for number in signal.SIGINT, signal.SIGTERM:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.came = True
        signal.signal(number, self._before[number])
