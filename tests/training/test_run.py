"""What a run keeps."""

import math
import os
import subprocess
import sys

import pytest
import torch

from coding.errors import UserError
from conftest import ROOT, trainable_networks
from training import loop
from training.run import Run, read_checkpoint
from training.settings import Settings
from training.workers import Workers


@pytest.fixture
def run(tmp_path):
    """A run of small networks after a step."""
    settings = Settings(["photos"], "soft", output_dir=str(tmp_path))
    run = Run(settings, trainable_networks("soft"), torch.device("cpu"))
    run.optimizer.set_learning_rate(0.5)
    loop.train_step(run.model, run.optimizer, torch.rand(2, 3, 64, 64), 0.01)
    run.advance(1.0)
    return run


def weight(run):
    return run.model.synthesis.head.weight


def average(run):
    return run.average.module.synthesis.head.weight


def moment(run):
    return next(iter(run.optimizer.state_dict()[0]["state"].values()))["exp_avg_sq"]


@pytest.mark.parametrize("tensor", [weight, average, moment])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_is_finite_where_all_that_it_keeps_is(run, tensor, value):
    x = torch.rand(2, 3, 64, 64)
    assert run.is_finite() and loop.can_be_saved(run, x, bfloat16=False)
    with torch.no_grad():
        tensor(run)[-1] = value
    assert not run.is_finite() and not loop.can_be_saved(run, x, bfloat16=False)


def test_a_run_whose_next_loss_is_not_finite_is_not_saved(run):
    with torch.no_grad():
        weight(run).fill_(1e38)
    assert run.is_finite() and not loop.can_be_saved(run, torch.rand(2, 3, 64, 64), bfloat16=False)


def test_a_report_that_cannot_be_printed_ends_no_run(run, photo, monkeypatch):
    def fail(text):
        raise BrokenPipeError

    monkeypatch.setattr("tqdm.tqdm.write", fail)
    row = loop.validate(run, [photo.repeat(2, 0).repeat(2, 1)], Workers("cpu"))
    assert row["val_loss"] == run.best < math.inf and os.path.exists(run.settings.path("best.pt"))


def test_the_start_is_measured_and_never_the_best(run, photo):
    run.step = 0
    row = loop.validate(run, [photo.repeat(2, 0).repeat(2, 1)], Workers("cpu"))
    assert row["val_loss"] < run.best == math.inf and not os.path.exists(run.settings.path("best.pt"))


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path):
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")
    code = (
        "import resource, sys, torch, cli; from training import run; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "cli.run(lambda: run.save_checkpoint(sys.argv[1], {'x': torch.zeros(10_000)}))"
    )
    result = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and "last.pt" in result.stderr and "Traceback" not in result.stderr
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["last.pt"]


def test_what_is_no_checkpoint_is_refused(tmp_path):
    settings = Settings(["photos"], "soft", output_dir=str(tmp_path), resume=True)
    assert read_checkpoint(settings) is None
    (tmp_path / "last.pt").write_bytes(b"text")
    with pytest.raises(UserError, match="not a checkpoint"):
        read_checkpoint(settings)
    for mode, tune, lambda_, line in (
        ("hard", "psnr", settings.lambda_, "--quantize_mode=hard"),
        ("soft", "eye", settings.lambda_, "--tune=eye"),
        ("soft", "psnr", 0.0067, "--lambda=0.0067"),
    ):
        saved = {"config": {"quantize_mode": mode}, "tune": tune, "lambda": lambda_}
        torch.save(saved, tmp_path / "last.pt")
        with pytest.raises(UserError, match=f"is of {line}"):
            read_checkpoint(settings)
