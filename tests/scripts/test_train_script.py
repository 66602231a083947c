"""train.py as a user runs it."""

import csv
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import graphs
import pytest
import torch
from calls import call
from photos import write_photos
from PIL import Image

import codec
from conftest import ROOT
from engines.pair import Decoder, Encoder
from training.run import Diverged
from training.settings import Settings
from training.workers import Workers

MODELS = Path(ROOT) / "models"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture(scope="module", autouse=True)
def borrowed_graphs():
    """What is exported in this process is not traced."""
    with graphs.borrowed():
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


SOFT = ["--quantize_mode=soft", "--init=random", "--device=cpu", "--seed=3", "--batch_size=2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, photos):
    """The folder of a run of soft mode that came to its end after four steps."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done(call(*options(photos, folder, *SOFT, "--val", photos, "--steps=4", "--val_every=2")))
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


def options(data, out, *more):
    """Arguments of train.py for small crops of the images in `data`, which go to the folder `out`."""
    return ["train.py", "--data", data, "--crop=64", "--output_dir", out, *more]


def done(result):
    """The result of a run that ended well."""
    assert result.returncode == 0, result.stderr
    return result


def refused(result):
    """The one line of stderr of a run that did not."""
    assert result.returncode == 1 and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def trained(folder):
    """The pair that a run has exported."""
    return Encoder.load(folder / "encoder.model", engine="torch"), Decoder.load(
        folder / "decoder.model", engine="torch"
    )


def works(pair, path):
    """Whether a pair compresses the image in `path` and gives it back in its size."""
    image, (encoder, decoder) = Image.open(path), pair
    return codec.decompress(codec.compress(image, encoder), decoder).size == image.size


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(folder):
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def same(one, other):
    """Whether two checkpoints, or parts of them, are the same bit for bit, but for seconds."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one if k != "elapsed")
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def checkpoint(folder):
    return torch.load(folder / "last.pt", weights_only=True)


def test_a_run_exports_models_that_work_and_keeps_a_log(finished, photos):
    assert works(trained(finished), photos / "a.png")
    rows = rows_of(finished)
    assert [row["step"] for row in rows] == ["0", "2", "4"]
    assert 0 < float(rows[2]["crops_per_second"]) < 1e5 and float(rows[2]["val_loss"]) > 0
    assert Image.open(finished / "curve.png").size > (100, 100)
    assert list(finished.glob("events.out.tfevents.*"))


def test_a_dry_run_is_two_steps(tmp_path, photos):
    args = options(
        photos, tmp_path, "--val", photos, "--quantize_mode=variable", "--init=random", "--dry-run"
    )
    result = done(call(*args))
    assert "step 0: val" in result.stdout and "step 2: val" in result.stdout
    assert works(trained(tmp_path), photos / "a.png")


def test_parts_of_the_shipped_model_are_trained_and_the_others_stay(tmp_path, photos):
    """A dry run of the entropy model alone, one of the decoder from what that gave, and one of everything."""
    shared = ["--quantize_mode=variable", "--dry-run"]
    folders = MODELS / "model_variable", tmp_path / "1", tmp_path / "2", tmp_path / "3"
    for start, out, more in zip(
        folders, folders[1:], (["--part=entropy"], ["--part=decoder"], ["--precision=bfloat16"])
    ):
        done(call(*options(photos, out, *shared, "--start_from", start, *more)))
    pairs = [trained(folder) for folder in folders]
    analysis = [encoder.transform.module.neck.weight for encoder, _ in pairs]
    synthesis = [decoder.transform.module.head.weight for _, decoder in pairs]
    entropy_models = [
        torch.from_numpy(decoder.coder.entropy_model.weights["last.0.weight"]) for _, decoder in pairs
    ]
    stays = [[torch.equal(*two) for two in zip(w, w[1:])] for w in (analysis, synthesis, entropy_models)]
    assert stays == [[True, True, False], [True, False, False], [False, False, False]]
    assert works(pairs[-1], photos / "a.png")


def test_an_encoder_is_trained_for_the_eye_and_its_decoder_stays(tmp_path, photos):
    start, args = MODELS / "model_variable", ("--quantize_mode=variable", "--dry-run", "--tune=eye")
    done(call(*options(photos, tmp_path, *args, "--val", photos, "--part=encoder", "--start_from", start)))
    assert (tmp_path / "decoder.model").read_bytes() == (start / "decoder.model").read_bytes()
    (encoder, decoder), (before, _) = trained(tmp_path), trained(start)
    assert encoder.tune == "eye" and before.tune == "psnr" and encoder.decoder_id == decoder.id
    weights = [one.transform.module.neck.weight for one in (encoder, before)]
    assert not torch.equal(*weights)
    assert works((encoder, decoder), photos / "a.png")


def test_a_run_is_resumed_with_its_tune_alone(run, photos):
    result = call(*options(photos, run, *SOFT, "--val", photos, "--steps=6", "--tune=eye", "--resume"))
    assert "is of --tune=psnr" in refused(result)


def test_an_encoder_needs_the_decoder_that_it_is_trained_for(tmp_path, photos):
    result = call(*options(photos, tmp_path / "out", *SOFT, "--part=encoder"))
    assert result.returncode == 2 and "--start_from" in result.stderr
    for folder, mode, other in ("model_B=10", "hard", "soft"), ("model_variable", "hard", "variable"):
        args = f"--quantize_mode={mode}", "--part=encoder", "--start_from", MODELS / folder
        line = refused(call(*options(photos, tmp_path / "out", *args)))
        assert f"for --quantize_mode={other}, and --part=encoder keeps its decoder" in line


def test_soft_mode_has_no_rate_that_variable_mode_has_not(tmp_path, photos):
    args = "--quantize_mode=soft", "--lambda=0.2", "--start_from", MODELS / "model_variable", "--dry-run"
    line = refused(call(*options(photos, tmp_path, *args)))
    assert "--lambda is for a rate of 2.45; variable mode has -1.25 to 2.00" in line


def test_training_lowers_the_loss(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in "lena.png", "baboon.png", "peppers.png":
        path = os.path.join(ROOT, "resources/test_images", name)
        Image.open(path).crop((128, 128, 384, 384)).save(images / name)
    args = options(images, tmp_path / "out", "--val", images, "--quantize_mode=hard", "--init=random")
    with mock.patch("training.loop.export"):
        done(call(*args, "--steps=20", "--batch_size=4", "--val_every=20"))
    first, last = (float(row["val_loss"]) for row in rows_of(tmp_path / "out"))
    assert last < first - 0.015  # 1.124 falls to 1.086


def test_interrupted_training_resumes_bit_for_bit(tmp_path, photos):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    more = [*SOFT, "--steps=8", "--val_every=2"]
    done(call(*options(photos, whole, *more)))

    command = [sys.executable, *map(str, options(photos, cut, *more))]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (cut / "last.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume" in stderr.splitlines()[-1] and "Traceback" not in stderr
    assert not (cut / "decoder.model").exists() and not list(cut.glob("*.tmp"))

    done(call(*options(photos, cut, *more, "--resume")))
    assert same(checkpoint(whole), checkpoint(cut))
    assert trained(whole)[1].id == trained(cut)[1].id == trained(cut)[0].decoder_id
    assert len(rows_of(cut)) == len(rows_of(whole))


def test_several_processes_train_one_model(tmp_path, photos):
    args = options(photos, tmp_path, "--val", photos, "--quantize_mode=hard", "--init=random", "--dry-run")
    command = [*TORCHRUN, *map(str, args), "--device=cpu"]
    result = done(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300))
    assert result.stdout.count("wrote encoder.model") == 1
    assert works(trained(tmp_path), photos / "a.png")


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_a_trained_model_can_be_the_start_of_another_mode(tmp_path, photos, mode):
    start = ["--start_from", MODELS / "model_variable", f"--quantize_mode={mode}", "--dry-run"]
    with mock.patch("training.loop.export"):
        done(call(*options(photos, tmp_path, *start)))
    config = checkpoint(tmp_path)["config"]
    assert config["quantize_mode"] == mode and tuple(config["slices"]) == (8, 24, 64)
    assert len(config["digits"]) == 96 and sum(config["digits"]) == {"hard": 96, "soft": 32}[mode]


def test_a_run_that_is_there_is_not_lost(run, photos):
    before = files_of(run)
    args = options(photos, run, "--init=random")
    assert "a run is there; add --resume" in refused(call(*args, "--quantize_mode=soft"))
    assert "is of --quantize_mode=soft" in refused(call(*args, "--quantize_mode=hard", "--resume"))
    assert before == files_of(run)


def test_a_run_at_its_end_goes_on_with_the_limits_and_the_learning_rate_of_the_call(run, photos):
    before = files_of(run)
    resume = options(photos, run, *SOFT, "--val", photos, "--resume", "--val_every=2")
    done(call(*resume, "--steps=4"))  # without another step
    assert files_of(run)["last.pt"] == before["last.pt"]
    done(call(*resume, "--steps=6", "--lr=0.002"))
    saved = checkpoint(run)
    peaks = {group["name"]: group["peak"] for part in saved["optimizer"] for group in part["param_groups"]}
    assert saved["step"] == 6 and peaks["network matrices"] == 0.002
    assert [row["step"] for row in rows_of(run)] == ["0", "2", "4", "6"]
    seconds = checkpoint(run)["elapsed"]
    done(call(*resume, f"--minutes={(seconds + 0.01) / 60}"))
    assert checkpoint(run)["step"] == 7 and works(trained(run), photos / "a.png")


def test_a_run_that_diverges_stops_and_keeps_what_was_good(run, photos):
    before = files_of(run)
    resume = options(photos, run, *SOFT, "--val", photos, "--resume", "--val_every=5")
    line = refused(call(*resume, "--steps=1000", "--lr=1e20"))
    assert f"not finite at step 5; --resume from {run / 'last.pt'} with" in line
    assert "a lower --lr than 1e+20, or --precision float32" in line
    after = files_of(run)
    assert all(after[name] == before[name] for name in before if "tfevents" not in name)
    assert [row["step"] for row in rows_of(run)] == ["0", "2", "4"]
    done(call(*resume, "--steps=5"))
    assert checkpoint(run)["step"] == 5


def test_a_run_that_diverges_at_once_is_to_be_started_again(tmp_path, photos):
    with mock.patch("training.loop.STEPS_OF_BAR", 3):
        line = refused(call(*options(photos, tmp_path, *SOFT, "--steps=1000", "--lr=1e20")))
    assert "not finite at step 3" in line and "start again with a lower --lr" in line  # as the bar is told
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".pt", ".model", ".tmp")]


def test_a_model_whose_loss_was_never_finite_is_not_exported(tmp_path, photos):
    args = options(photos, tmp_path, *SOFT, "--val", photos, "--steps=1")
    with mock.patch("training.loop.means", return_value=(math.nan, 30.0)):
        assert "not finite" in refused(call(*args))
    assert not list(tmp_path.glob("*.model")) and not (tmp_path / "best.pt").exists()


def test_of_several_processes_one_tells_that_a_run_diverges(tmp_path, photos):
    error = Diverged(SimpleNamespace(step=1, settings=Settings(["photos"], "soft")))
    lines = []
    for first in True, False:
        with mock.patch("train.train", side_effect=error), mock.patch.object(Workers, "first", first):
            result = call(*options(photos, tmp_path, "--quantize_mode=soft"))
        lines.append((result.returncode, result.stderr.count("\n")))
    assert lines == [(1, 1), (1, 0)]


def test_missing_data_and_models_of_another_mode_are_one_line(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    more = ["--quantize_mode=hard", "--dry-run"]
    for path in tmp_path / "empty", tmp_path / "none", photos / "a.png":
        refused(call(*options(path, tmp_path / "out", *more, "--init=random")))
    wrong = call(*options(photos, tmp_path / "out", *more, "--start_from", MODELS / "model_B=10"))
    assert "holds a model for --quantize_mode=soft" in refused(wrong)


def test_a_failed_download_is_one_line(tmp_path, script, photos):
    # No server answers at this address: the machine has no network, or none that leads there.
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    environment = {**os.environ, **nowhere, "TORCH_HOME": str(tmp_path / "hub")}
    args = options(photos, tmp_path / "out", "--quantize_mode=hard", "--dry-run", "--init=imagenet")
    result = script(*args, env=environment)
    assert result.returncode == 1 and "--init random" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
