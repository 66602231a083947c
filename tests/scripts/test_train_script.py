"""train.py as a user runs it."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from photos import write_photos
from PIL import Image

import codec
from conftest import ROOT
from engines.pair import Decoder, Encoder

MODELS = Path(ROOT) / "models"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


def options(data, out, *more):
    """Arguments of train.py for small crops of the images in `data`, which go to the folder `out`."""
    return ["train.py", "--data", data, "--crop=64", "--output_dir", out, *more]


def trained(folder):
    """The pair that a run has exported."""
    return Encoder.load(folder / "encoder.model", engine="torch"), Decoder.load(
        folder / "decoder.model", engine="torch"
    )


def works(pair, path):
    """Whether a pair compresses the image in `path` and gives it back in its size."""
    image, (encoder, decoder) = Image.open(path), pair
    return codec.decompress(codec.compress(image, encoder), decoder).size == image.size


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_dry_run_exports_models_that_work(tmp_path, script, photos, mode):
    out = tmp_path / "out"
    args = options(photos, out, "--val", photos, f"--quantize_mode={mode}", "--init=random", "--dry-run")
    result = script(*args)
    assert result.returncode == 0, result.stderr
    assert "step 0: val" in result.stdout and "step 2: val" in result.stdout
    assert works(trained(out), photos / "a.png")


def test_parts_of_the_shipped_model_are_trained_and_the_others_stay(tmp_path, script, photos):
    """A dry run of the entropy model alone, one of the decoder from what that gave, and one of everything."""
    shared = ["--quantize_mode=variable", "--dry-run"]
    folders = MODELS / "model_variable", tmp_path / "1", tmp_path / "2", tmp_path / "3"
    for start, out, more in zip(
        folders, folders[1:], (["--part=entropy"], ["--part=decoder"], ["--precision=bfloat16"])
    ):
        args = options(photos, out, *shared, "--start_from", start, *more)
        result = script(*args)
        assert result.returncode == 0, result.stderr
    pairs = [trained(folder) for folder in folders]
    analysis = [encoder.transform.module.neck.weight for encoder, _ in pairs]
    synthesis = [decoder.transform.module.head.weight for _, decoder in pairs]
    entropy_models = [
        torch.from_numpy(decoder.coder.entropy_model.weights["last.0.weight"]) for _, decoder in pairs
    ]
    stays = [[torch.equal(*two) for two in zip(w, w[1:])] for w in (analysis, synthesis, entropy_models)]
    assert stays == [[True, True, False], [True, False, False], [False, False, False]]
    assert works(pairs[-1], photos / "a.png")


def test_training_lowers_the_loss_and_keeps_a_log(tmp_path, script):
    images = Path(ROOT) / "resources/test_images"
    args = options(images, tmp_path, "--val", images, "--quantize_mode=hard", "--init=random", "--crop=128")
    args += ["--steps=40", "--batch_size=4", "--val_every=20"]
    result = script(*args)
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "20", "40"]
    assert float(rows[2]["val_loss"]) < float(rows[0]["val_loss"]) - 0.005  # 0.777 falls to 0.748
    assert 0 < float(rows[2]["crops_per_second"]) < 1e5
    assert Image.open(tmp_path / "curve.png").size > (100, 100)
    assert list(tmp_path.glob("events.out.tfevents.*"))

    again = script(*args)
    assert again.returncode == 1 and "--resume" in again.stderr


def test_interrupted_training_resumes_bit_for_bit(tmp_path, script, photos):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    more = ["--val", photos, "--quantize_mode=soft", "--init=random", "--device=cpu", "--seed=3"]
    more += ["--steps=20", "--batch_size=2", "--val_every=2"]
    result = script(*options(photos, whole, *more))
    assert result.returncode == 0, result.stderr

    command = [sys.executable, *map(str, options(photos, cut, *more))]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (cut / "last.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume" in stderr.splitlines()[-1] and "Traceback" not in stderr
    assert not (cut / "decoder.model").exists()

    resumed = script(*options(photos, cut, *more, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    (encoder, decoder), (resumed_encoder, resumed_decoder) = trained(whole), trained(cut)
    assert decoder.id == resumed_decoder.id == resumed_encoder.decoder_id
    weights, same = (each.transform.module.state_dict() for each in (encoder, resumed_encoder))
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert len(open(cut / "log.csv").readlines()) == len(open(whole / "log.csv").readlines())


@pytest.mark.parametrize("mode", ["hard", "variable"])
def test_several_processes_train_one_model(tmp_path, photos, mode):
    args = options(photos, tmp_path, "--val", photos, f"--quantize_mode={mode}", "--init=random", "--dry-run")
    command = [*TORCHRUN, *map(str, args), "--device=cpu"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("wrote encoder.model") == 1
    assert works(trained(tmp_path), photos / "a.png")


def test_a_trained_model_can_be_the_start_of_another_mode(tmp_path, script, photos):
    start = ["--start_from", MODELS / "model_B=10", "--quantize_mode=hard", "--dry-run"]
    result = script(*options(photos, tmp_path, *start))
    assert result.returncode == 0, result.stderr
    assert Encoder.load(tmp_path / "encoder.model").config.quantize_mode == "hard"


def test_a_run_that_is_there_is_not_lost(tmp_path, script, photos):
    args = options(photos, tmp_path, "--init=random")
    assert script(*args, "--quantize_mode=soft", "--dry-run").returncode == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()}
    again = script(*args, "--quantize_mode=soft", "--dry-run")
    assert again.returncode == 1 and "a run is there" in again.stderr
    other = script(*args, "--quantize_mode=hard", "--resume")
    assert other.returncode == 1 and "is of --quantize_mode=soft" in other.stderr
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()}


def test_a_resumed_run_has_the_learning_rate_of_the_call(tmp_path, script, photos):
    first, second = tmp_path / "1", tmp_path / "2"
    shared = ["--quantize_mode=soft", "--init=random", "--batch_size=2"]
    for args in (
        options(photos, first, *shared, "--steps=2"),
        options(photos, second, *shared, "--steps=2", "--start_from", first),
        options(photos, second, *shared, "--steps=4", "--lr=0.002", "--resume"),
    ):
        result = script(*args)
        assert result.returncode == 0, result.stderr
    saved = torch.load(second / "last.pt", weights_only=True)
    peaks = {group["name"]: group["peak"] for part in saved["optimizer"] for group in part["param_groups"]}
    assert saved["step"] == 4 and peaks["network matrices"] == 0.002


def test_missing_data_and_models_of_another_mode_are_one_line(tmp_path, script, photos):
    (tmp_path / "empty").mkdir()
    more = ["--quantize_mode=hard", "--dry-run"]
    for path in tmp_path / "empty", tmp_path / "none", photos / "a.png":
        result = script(*options(path, tmp_path / "out", *more, "--init=random"))
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    wrong = script(*options(photos, tmp_path / "out", *more, "--start_from", MODELS / "model_variable"))
    assert wrong.returncode == 1
    assert "holds a model for --quantize_mode=variable" in wrong.stderr.splitlines()[-1]


def test_a_failed_download_is_one_line(tmp_path, script, photos):
    # No server answers at this address: the machine has no network, or none that leads there.
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    environment = {**os.environ, **nowhere, "TORCH_HOME": str(tmp_path / "hub")}
    args = options(photos, tmp_path / "out", "--quantize_mode=hard", "--dry-run", "--init=imagenet")
    result = script(*args, env=environment)
    assert result.returncode == 1 and "--init random" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
