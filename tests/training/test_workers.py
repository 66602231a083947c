"""Several processes."""

import os
import subprocess
import sys

import torch

from conftest import ROOT, build_transforms


def test_processes_average_their_gradients(tmp_path):
    code = """
import sys, torch
sys.path.insert(0, "tests")
from conftest import build_transforms
from training import loop, loss, optimizer, workers
processes = workers.Workers("cpu")
network = processes.wrap(loss.RateDistortion(loss.Networks(*build_transforms("soft"))))
both = optimizer.Optimizer(network.module, 1e-3)
torch.manual_seed(processes.rank)
loop.train_step(network, both, torch.rand(2, 3, 64, 64), 0.01, progress=0.5)
torch.save(network.module.synthesis.state_dict(), f"{sys.argv[1]}/{processes.rank}.pt")
processes.close()
"""
    (tmp_path / "code.py").write_text(code)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command, environment = [*torchrun, tmp_path / "code.py", tmp_path], {**os.environ, "PYTHONPATH": ROOT}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    start_of_both = build_transforms("soft")[1].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["head.weight"], start_of_both["head.weight"])
