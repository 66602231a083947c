"""A run that goes from one machine to another in the repository."""

import os
import shutil
import signal
import zipfile
from unittest import mock

import graphs
import numpy as np
import pytest
import torch
from calls import call
from photos import write_photos
from PIL import Image

from coding.errors import UserError
from conftest import ROOT
from engines import shipped
from training import campaign, carried, loop, progress, start
from training.loss import RateDistortion, evaluate
from training.stages import Stage

PAIR = os.path.dirname(shipped.path("variable", "decoder"))
SMALL = {"quantize_mode": "variable", "batch_size": 1, "crop": 64, "val_every": 100, "lr": 1e-4, "decay": 0.0}
STAGES = (Stage("steady", SMALL | {"steps": 4}),)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def checkpoint():
    """A checkpoint whose weights and average are as far from the shipped ones as hours of training move
    them."""
    networks, _ = start.networks_of_pair(PAIR)
    torch.manual_seed(0)
    weights = RateDistortion(networks).state_dict()
    average = {name: moved(value, 0.02) for name, value in weights.items()}
    return {
        "step": 1234,
        "elapsed": 5.5,
        "model": {name: moved(value, 0.02) for name, value in average.items()},
        "average": {f"module.{name}": value for name, value in average.items()},
    }


@pytest.fixture
def folder(tmp_path, checkpoint):
    carried.save(str(tmp_path), "larger", checkpoint)
    return tmp_path


def moved(value, share):
    noise = torch.randn_like(value) * share
    return value + noise * (value.std() if value.numel() > 1 else value)


def test_what_was_carried_has_nearly_the_loss_of_what_was_saved(folder, checkpoint):
    found = carried.load(str(folder))
    assert (found.stage, found.step, found.elapsed) == ("larger", 1234, 5.5)
    image = np.asarray(Image.open(os.path.join(ROOT, "resources", "test_images", "lena.png")).convert("RGB"))
    images = [image[:128, :192], image[256:384, 256:448]]
    average = {name.removeprefix("module."): value for name, value in checkpoint["average"].items()}
    for saved, loaded in (average, found.average), (checkpoint["model"], found.weights):
        assert loss(loaded, images) == pytest.approx(loss(saved, images), rel=1e-3)
    assert loss(average, images) != pytest.approx(loss(shipped_weights(), images), rel=1e-3)
    assert (folder / carried.FILE).stat().st_size < 16 << 20


def loss(weights, images):
    networks, lambda_ = start.networks_of_pair(PAIR)
    model = RateDistortion(networks)
    model.load_state_dict(weights)
    bpp, psnr = evaluate(model, images)
    return lambda_ * 255**2 * 10 ** (-psnr / 10) + bpp


def shipped_weights():
    return RateDistortion(start.networks_of_pair(PAIR)[0]).state_dict()


def change_array(path, name, change):
    with np.load(path) as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name])
    np.savez(path, **arrays)


def with_other_base(fields):
    return np.array(str(fields).replace('"base": "', '"base": "x'))


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5000]),
    "empty": lambda path: path.write_bytes(b""),
    "flipped": lambda path: path.write_bytes(path.read_bytes().replace(b"\x00\x01", b"\x01\x00")),
    "no zip": lambda path: path.write_text("hello"),
    "other size": lambda path: change_array(path, "average.analysis.neck.weight", lambda a: a[:5]),
    "other type": lambda path: change_array(path, "weights.analysis.neck.weight", lambda a: a.astype(float)),
    "no fields": lambda path: change_array(path, "fields", lambda a: np.array("[]")),
    "other base": lambda path: change_array(path, "fields", with_other_base),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_carried_state_is_refused(how, folder):
    path = folder / carried.FILE
    DAMAGE[how](path)
    with pytest.raises(UserError, match=f"^{path}: "):
        carried.load(str(folder))


def test_nothing_carried_is_no_error(tmp_path):
    assert carried.load(str(tmp_path)) is None


def interrupting(step):
    """A training step that asks its process to end in the step of a number."""
    steps, train_step = [], loop.train_step

    def wrapped(*args):
        steps.append(args)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(*args)

    return mock.patch.object(loop, "train_step", wrapped)


def run(folder, photos, *more):
    arguments = "--data", photos, "--val", photos, "--output_dir", folder / "runs", "--carried", folder, *more
    with graphs.borrowed(), mock.patch.object(campaign, "STAGES", STAGES):
        return call("training.campaign", *arguments)


def test_a_campaign_that_stops_goes_on_elsewhere(photos, tmp_path):
    with interrupting(step=2):
        result = run(tmp_path / "one", photos)
    assert result.returncode == 130 and "interrupted" in result.stderr
    os.makedirs(tmp_path / "two")
    shutil.copy(tmp_path / "one" / carried.FILE, tmp_path / "two")
    result = run(tmp_path / "two", photos)
    assert result.returncode == 0, result.stderr
    rows = progress.read(tmp_path / "two" / "runs" / "steady" / "log.csv")
    assert [row["step"] for row in rows] == ["2", "4"]
    assert float(rows[1]["learning_rate"]) == pytest.approx(1e-4 * 2 / 100)  # two steps with new moments


def test_what_was_carried_counts_only_where_it_is_further(photos, tmp_path):
    with interrupting(step=1):
        run(tmp_path, photos)
    earlier = (tmp_path / carried.FILE).read_bytes()
    with interrupting(step=2):
        run(tmp_path, photos)
    (tmp_path / carried.FILE).write_bytes(earlier)
    assert run(tmp_path, photos).returncode == 0
    rows = progress.read(tmp_path / "runs" / "steady" / "log.csv")
    assert [row["step"] for row in rows] == ["0", "4"]


def test_a_campaign_with_a_damaged_carried_state_starts_from_the_shipped_pair(photos, tmp_path):
    zipfile.ZipFile(tmp_path / carried.FILE, "w").close()
    result = run(tmp_path, photos)
    assert result.returncode == 0
    assert len(result.stderr.splitlines()) == 1 and "the shipped weights are the start" in result.stderr
    assert progress.read(tmp_path / "runs" / "steady" / "log.csv")[0]["step"] == "0"
