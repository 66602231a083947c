"""Several processes, and the signals that end them."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from conftest import ROOT, trainable_networks
from training import workers


def test_processes_average_their_gradients_share_work_and_stop_together(tmp_path):
    code = """
import math, os, sys, types, torch
import numpy as np
sys.path.insert(0, "tests")
from conftest import trainable_networks
from training import loop, loss, optimizer, run, settings, workers
processes = workers.Workers("cpu")
network = processes.wrap(trainable_networks("soft"))
both = optimizer.Optimizer(network.module, 1e-3)
torch.manual_seed(processes.rank)
both.set_learning_rate(0.5)
loop.train_step(network, both, torch.rand(2, 3, 64, 64), 0.01)
torch.save(network.module.synthesis.state_dict(), f"{sys.argv[1]}/{processes.rank}.pt")
del network

torch.manual_seed(0)
stacks = [torch.randn(3, 16, 32), torch.randn(1, 64, 20), torch.randn(2, 24, 24)]
assert all(map(torch.equal, optimizer.in_shares(stacks), map(optimizer.orthogonal, stacks)))

images = list(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))
asked = settings.Settings(["photos"], "soft", output_dir=sys.argv[1])
measured = run.Run(asked, trainable_networks("soft"), processes.device)
measured.advance(1.0)
row, alone = loop.validate(measured, images, processes), loss.evaluate(measured.average.module, images)
assert abs(row["val_bpp"] - alone[0]) + abs(row["val_psnr"] - alone[1]) < 1e-6
assert (measured.best == row["val_loss"]) == processes.first

asked = settings.Settings(["photos"], "soft", output_dir=sys.argv[1], val_every=1, precision="float32")
training = run.Run(asked, trainable_networks("soft"), processes.device)
pixels = torch.full((2, 3, 64, 64), math.nan if processes.rank else 0.5)
crops = types.SimpleNamespace(sample=lambda count, random: pixels)
try:
    loop.take_steps(training, crops, [], None, processes, workers.Interrupt())
except run.Diverged as error:
    print(f"rank {processes.rank}: {error}", flush=True)
processes.close()

if os.path.isdir("/proc/self/task"):  # a thread of a group that is left may abort while Python ends
    names = [open(f"/proc/self/task/{number}/comm").read() for number in os.listdir("/proc/self/task")]
    assert not [name for name in names if "gloo" in name], names
"""
    (tmp_path / "code.py").write_text(code)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command, environment = [*torchrun, tmp_path / "code.py", tmp_path], {**os.environ, "PYTHONPATH": ROOT}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    start_of_both = trainable_networks("soft").synthesis.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["head.weight"], start_of_both["head.weight"])
    assert all(f"rank {rank}: the loss is not finite at step 1;" in result.stdout for rank in (0, 1))
    assert not (tmp_path / "last.pt").exists()


def test_a_signal_is_noted_and_the_second_does_what_it_did_before():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), workers.Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.came
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
