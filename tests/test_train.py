import csv
import dataclasses
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import codec
import data
import exact
import loss
import model
import start
from conftest import ROOT, build_pair, plain_pair


@pytest.fixture
def photos(tmp_path):
    """A folder with an image and a tar file of another."""
    folder = tmp_path / "photos"
    folder.mkdir()
    y, x = np.mgrid[0:70, 0:90]
    image = Image.fromarray(np.stack([x * 2, y * 3, x + y], 2).astype(np.uint8))
    image.save(folder / "a.png")
    file = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(file, "PNG")
    with tarfile.open(folder / "b.tar", "w") as archive:
        member = tarfile.TarInfo("deep/b.png")
        member.size = len(file.getvalue())
        archive.addfile(member, io.BytesIO(file.getvalue()))
        archive.addfile(tarfile.TarInfo("notes.txt"))
    return folder


def test_images_come_from_folders_and_tars(photos):
    assert [image.shape for image in data.load_images([str(photos)])] == [(70, 90, 3), (90, 70, 3)]
    assert len(data.load_images([str(photos / "b.tar")])) == 1
    (photos / "none").mkdir()
    with pytest.raises(ValueError, match="no images"):
        data.load_images([str(photos / "none")])


def test_crops_are_pieces_of_the_images():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    crops = data.Crops([image], 32)
    random = np.random.default_rng(1)
    found = 0
    for _ in range(20):
        batch = crops.sample(3, random)
        assert batch.shape == (3, 3, 32, 32) and 0 <= batch.min() and batch.max() <= 1
        crop = (batch[0] * 255).round().byte().permute(1, 2, 0).numpy()
        pieces = [image[y : y + 32, x : x + 32] for y in range(9) for x in range(19)]
        found += any(np.array_equal(crop, p) or np.array_equal(crop, p[:, ::-1]) for p in pieces)
    assert found >= 4  # the others are scaled


def test_crops_of_one_seed_are_the_same():
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    crops = data.Crops([image], 32)
    assert torch.equal(crops.sample(4, np.random.default_rng(5)), crops.sample(4, np.random.default_rng(5)))


def test_principal_components_reconstruct_what_they_span():
    encoder, decoder = build_pair("soft")
    pixels = torch.rand(6, 3, 1, 1).expand(6, 3, 32, 32).contiguous()  # flat colours: three dimensions
    start.principal_components(encoder, decoder, pixels, step=0.01)
    y = encoder.linear(pixels - 0.5)
    assert torch.allclose(torch.nn.functional.pixel_shuffle(decoder.linear(y), 16) + 0.5, pixels, atol=1e-3)


def test_coarsened_models_say_the_same_in_larger_steps():
    encoder, decoder = build_pair("soft")
    pixels = torch.rand(8, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    start.principal_components(encoder, decoder, pixels, step=0.2)
    hard = dataclasses.replace(encoder.config, quantize_mode="hard", B=2)
    encoder2, decoder2 = (m.eval() for m in start.coarsen(encoder, decoder, hard, pixels, step=4.0))
    digits = encoder2.config.digits
    assert sum(digits) == 4 and digits[0] > 1
    assert sorted(digits, reverse=True) == list(digits)
    y, y2 = start.latents(encoder, pixels), start.latents(encoder2, pixels)
    order = y.std(1).argsort(descending=True)[: len(digits)]
    assert torch.allclose(y2, (y - y.mean(1, keepdim=True))[order] / 4, atol=1e-3)
    kept = torch.zeros_like(y) + y.mean(1, keepdim=True)
    kept[order] = y[order]
    kept = kept.view(4, 8, 4, 4).transpose(0, 1)
    with torch.no_grad():
        expected = decoder(0.5 + kept * 2**-10)
        assert torch.allclose(decoder2(encoder2(pixels)), expected, atol=1e-2)


def test_what_the_digits_cannot_hold_is_led_back_by_the_penalty_alone():
    encoder, decoder = build_pair("hard")
    exact.thaw(encoder.context)
    y = torch.tensor([[40.0, 1.3, -9.0]]).view(1, 3, 1, 1).expand(1, 3, 4, 4).clone().requires_grad_()
    encoder.steps = lambda x: y
    bpp, mse, clipped = loss.RateDistortion(encoder, decoder)(torch.rand(1, 3, 64, 64))
    outside = torch.tensor([True, False, True])
    (bpp + mse).sum().backward(retain_graph=True)
    assert torch.equal(y.grad.abs().sum((0, 2, 3)) == 0, outside)
    y.grad = None
    clipped.backward()
    assert torch.equal(y.grad.sum((0, 2, 3)).sign(), torch.tensor([1.0, 0.0, -1.0]))
    assert (encoder.at_rate(y, torch.zeros(1)).round().abs() <= encoder.config.limits.view(1, -1, 1, 1)).all()


def test_models_of_an_earlier_version_can_be_the_start(tmp_path, script, photos):
    for module, kind in zip(plain_pair(), ("encoder", "decoder")):
        model.save(module, str(tmp_path / f"{kind}.model"))
    for mode in "soft", "hard":
        result = script(
            "train.py",
            "--data",
            photos,
            "--quantize_mode",
            mode,
            "--crop=64",
            "--dry-run",
            "--output_dir",
            tmp_path / mode,
            "--start_from",
            tmp_path,
        )
        assert result.returncode == 0, result.stderr
        encoder = model.load(tmp_path / mode / "encoder.model", "encoder")
        assert encoder.config.quantize_mode == mode and encoder.context is not None


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_dry_run_exports_models_that_work(tmp_path, script, photos, mode):
    out = tmp_path / "out"
    args = [
        "train.py",
        "--data",
        photos,
        "--val",
        photos,
        "--quantize_mode",
        mode,
        "--init",
        "random",
        "--crop",
        64,
        "--dry-run",
        "--output_dir",
        out,
    ]
    result = script(*args)
    assert result.returncode == 0, result.stderr
    assert "step 0: val" in result.stdout and "step 2: val" in result.stdout
    pair = [model.load(out / f"{kind}.model", kind) for kind in ("encoder", "decoder")]
    image = Image.open(photos / "a.png")
    assert codec.decompress(codec.compress(image, pair[0]), pair[1]).size == image.size


def test_variable_mode_starts_from_soft_trains_its_entropy_model_and_goes_on(tmp_path, script, photos):
    """On 64x64 crops: a dry run from the shipped soft model, of the entropy model alone, and one from what that gave."""
    shared = ["train.py", "--data", photos, "--quantize_mode=variable", "--crop", 64, "--dry-run"]
    first = script(
        *shared,
        "--start_from",
        os.path.join(ROOT, "models/model_B=10"),
        "--entropy_only",
        "--output_dir",
        tmp_path / "1",
    )
    assert first.returncode == 0, first.stderr
    second = script(
        *shared, "--start_from", tmp_path / "1", "--precision=bfloat16", "--output_dir", tmp_path / "2"
    )
    assert second.returncode == 0, second.stderr
    soft, entropy_only, whole = (
        model.load(folder / "decoder.model", "decoder")
        for folder in (Path(ROOT) / "models/model_B=10", tmp_path / "1", tmp_path / "2")
    )
    assert torch.equal(soft.layer3[0].conv1.weight, entropy_only.layer3[0].conv1.weight)
    assert not entropy_only.head.weight.any() and whole.head.weight.any()
    encoder = model.load(tmp_path / "2/encoder.model", "encoder")
    image = Image.open(photos / "a.png")
    assert codec.decompress(codec.compress(image, encoder), whole).size == image.size


def test_training_lowers_the_loss_and_keeps_a_log(tmp_path, script):
    images = os.path.join(ROOT, "resources/test_images")
    args = [
        "train.py",
        "--data",
        images,
        "--val",
        images,
        "--quantize_mode=hard",
        "--init=random",
        "--crop=128",
        "--steps=40",
        "--batch_size=4",
        "--val_every=20",
        "--output_dir",
        tmp_path,
    ]
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
    args = [
        "train.py",
        "--data",
        photos,
        "--val",
        photos,
        "--quantize_mode=soft",
        "--init=random",
        "--crop=64",
        "--steps=20",
        "--batch_size=2",
        "--val_every=2",
        "--seed=3",
        "--device=cpu",
        "--output_dir",
    ]
    whole = script(*args, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr

    cut = tmp_path / "cut"
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, args[0]), *map(str, args[1:]), cut],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (cut / "last.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume" in stderr.splitlines()[-1] and "Traceback" not in stderr
    assert not (cut / "decoder.model").exists()

    resumed = script(*args, cut, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    for kind in "encoder", "decoder":
        ours, theirs = (model.load(tmp_path / run / f"{kind}.model", kind) for run in ("whole", "cut"))
        assert ours.model_id == theirs.model_id
        assert all(
            torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values())
        )
    assert len(open(cut / "log.csv").readlines()) == len(open(tmp_path / "whole" / "log.csv").readlines())


@pytest.mark.parametrize("mode", ["hard", "variable"])
def test_several_processes_train_one_model(tmp_path, photos, mode):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            os.path.join(ROOT, "train.py"),
            "--dry-run",
            "--data",
            photos,
            "--val",
            photos,
            "--quantize_mode",
            mode,
            "--init=random",
            "--crop=64",
            "--device=cpu",
            "--output_dir",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("wrote encoder.model") == 1
    model.load(tmp_path / "decoder.model", "decoder")


def test_processes_average_their_gradients(tmp_path):
    code = """
import sys, torch, train
sys.path.insert(0, "tests")
from conftest import build_pair
import exact, loss
workers = train.Workers("cpu")
encoder, decoder = build_pair("soft")
exact.thaw(encoder.context)
network = workers.wrap(loss.RateDistortion(encoder, decoder))
optimizer = train.build_optimizer(network.module, 1e-3)
torch.manual_seed(workers.rank)
train.train_step(network, optimizer, torch.rand(2, 3, 64, 64), 0.01, progress=0.5)
torch.save(network.module.decoder.state_dict(), f"{sys.argv[1]}/{workers.rank}.pt")
workers.close()
"""
    (tmp_path / "code.py").write_text(code)
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            tmp_path / "code.py",
            tmp_path,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    start_of_both = build_pair("soft")[1].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["head.weight"], start_of_both["head.weight"])


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path):
    path = tmp_path / "last.pt"
    path.write_bytes(b"old")
    code = (
        "import resource, sys, torch, cli, train; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        "cli.run(lambda: train.save_checkpoint(sys.argv[1], {'x': torch.zeros(10_000)}))"
    )
    result = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and "last.pt" in result.stderr and "Traceback" not in result.stderr
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["last.pt"]


def test_a_trained_model_can_be_the_start_of_the_other_mode(tmp_path, script, photos):
    result = script(
        "train.py",
        "--data",
        photos,
        "--quantize_mode=hard",
        "--crop=64",
        "--dry-run",
        "--output_dir",
        tmp_path,
        "--start_from",
        os.path.join(ROOT, "models/model_B=10"),
    )
    assert result.returncode == 0, result.stderr
    assert model.load(tmp_path / "encoder.model", "encoder").config.quantize_mode == "hard"


def test_unreadable_images_are_left_out_and_counted(photos, capsys):
    (photos / "c.png").write_bytes((photos / "a.png").read_bytes()[:100])
    assert len(data.load_images([str(photos)])) == 2
    assert "1 of 3 images" in capsys.readouterr().err
    (photos / "alone").mkdir()
    os.rename(photos / "c.png", photos / "alone" / "c.png")
    with pytest.raises(ValueError, match="none of the 1 images"):
        data.load_images([str(photos / "alone")])


def test_images_that_are_too_small_are_left_out_and_counted(photos, capsys):
    Image.new("RGB", (500, 15)).save(photos / "flat.png")
    assert len(data.load_images([str(photos)], 16)) == 2
    assert "1 of 3 images have less than 16 pixels" in capsys.readouterr().err
    with pytest.raises(ValueError, match="at least 100 pixels"):
        data.load_images([str(photos)], 100)


def test_a_run_that_is_there_is_not_lost(tmp_path, script, photos):
    args = ["train.py", "--data", photos, "--init=random", "--crop=64", "--output_dir", tmp_path]
    assert script(*args, "--quantize_mode=soft", "--dry-run").returncode == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()}
    again, other = (
        script(*args, "--quantize_mode=soft", "--dry-run"),
        script(*args, "--quantize_mode=hard", "--resume"),
    )
    assert again.returncode == other.returncode == 1
    assert "a run is there" in again.stderr and "is of --quantize_mode=soft" in other.stderr
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()}


def test_a_resumed_run_takes_its_learning_rate_from_the_call_and_leaves_statistics_frozen(
    tmp_path, script, photos
):
    args = [
        "train.py",
        "--data",
        photos,
        "--quantize_mode=soft",
        "--init=random",
        "--crop=64",
        "--batch_size=2",
        "--output_dir",
    ]
    first, second = tmp_path / "1", tmp_path / "2"
    for run in (
        (first, "--steps=2"),
        (second, "--steps=2", "--start_from", first),
        (second, "--steps=4", "--lr=0.002", "--resume"),
    ):
        result = script(*args, *run)
        assert result.returncode == 0, result.stderr
    saved = torch.load(second / "last.pt", weights_only=True)
    assert saved["step"] == 4 and saved["optimizer"]["param_groups"][0]["peak"] == 0.002
    statistics = "encoder.bn1.running_var"
    assert torch.equal(
        saved["model"][statistics], model.load(first / "encoder.model", "encoder").bn1.running_var
    )


def test_missing_data_and_failed_downloads_are_one_line(tmp_path, script, photos):
    empty = tmp_path / "empty"
    empty.mkdir()
    common = ["--quantize_mode=hard", "--crop=64", "--dry-run", "--output_dir", tmp_path / "out"]
    for path in empty, tmp_path / "none", photos / "a.png":
        result = script("train.py", "--data", path, *common, "--init=random")
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    wrong = script(
        "train.py", "--data", photos, *common, "--start_from", os.path.join(ROOT, "models/model_variable")
    )
    assert (
        wrong.returncode == 1
        and "holds a model for --quantize_mode=variable" in wrong.stderr.splitlines()[-1]
    )
    # No server answers at this address: the machine has no network, or none that leads there.
    result = script(
        "train.py",
        "--data",
        photos,
        *common,
        "--init=imagenet",
        env={
            **os.environ,
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
            "TORCH_HOME": str(tmp_path / "hub"),
        },
    )
    assert result.returncode == 1 and "--init random" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_digits_go_where_they_save_the_most():
    random = torch.Generator().manual_seed(0)
    y = torch.randn(5, 4000, generator=random) * torch.tensor([20.0, 4.0, 0.9, 0.8, 0.01])[:, None]
    counts = start.allocate(y, base=5, room=7)
    assert sum(counts) == 7 and counts[0] == 3 and counts[1] == 2 and counts[2:4] == [1, 1]
