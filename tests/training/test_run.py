"""What a run keeps."""

import os
import subprocess
import sys

import pytest
import torch

from coding.errors import UserError
from conftest import ROOT
from training.run import read_checkpoint
from training.settings import Settings


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
    torch.save({"config": {"quantize_mode": "hard"}}, tmp_path / "last.pt")
    with pytest.raises(UserError, match="is of --quantize_mode=hard"):
        read_checkpoint(settings)
