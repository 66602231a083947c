"""training.trials, training.profile and training.detail_steps as a user runs them."""

import re
import shutil
import subprocess
import sys

import graphs
import numpy as np
import pytest
from calls import call
from photos import write_photos
from PIL import Image

from coding import detail
from conftest import ROOT, golden_model

SHARED = ["--quantize_mode", "soft"]
SMALL = "init=random,crop=64,batch_size=2,steps=2"


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


def test_each_trial_is_a_row_of_the_table_but_for_one_that_diverges(tmp_path, photos):
    names = f"{SMALL},lr=1e30", SMALL, "init=random,crop=64,batch_size=1,steps=1"
    paths = ["--data", photos, "--val", photos, "--output_dir", tmp_path / "out"]
    with graphs.borrowed():
        result = call("training.trials", *paths, *SHARED, *names)
    assert result.returncode == 0, result.stderr
    heading, _, *rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if "|" in line]
    assert heading == ["trial", "steps", "s a step", "loss", "bpp", "PSNR"]
    assert [row[:2] for row in rows] == [[names[1], "2"], [names[2], "1"]]
    for name, row in zip(names[1:], rows):
        assert float(row[3]) > float(row[4]) > 0 and 5 < float(row[5]) < 60
        assert (tmp_path / "out" / name / "encoder.model").exists()
    assert f"warning: {names[0]}: the loss is not finite" in result.stderr
    assert not (tmp_path / "out" / names[0] / "encoder.model").exists()


@pytest.mark.parametrize("trial", ["lr=fast", "colour=red", "data=photos", "lr=-1,batch_size=0"])
def test_a_trial_of_no_sense_is_a_usage_error(photos, trial):
    result = call("training.trials", "--data", photos, "--val", photos, *SHARED, trial)
    assert result.returncode == 2 and "trials.py: error:" in result.stderr


def test_the_profile_names_the_parts_of_a_step():
    command = [
        sys.executable,
        "-m",
        "training.profile",
        "--quantize_mode=hard",
        "--batch_size=1",
        "--crop=64",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    found = re.findall(r"^([a-z ]+?) +([0-9.]+)( s| %)?$", result.stdout, re.MULTILINE)
    numbers = {name: float(number) for name, number, _ in found}
    parts = [numbers[name] for name in ("forward", "backward", "optimizer")]
    assert sum(parts) == pytest.approx(numbers["a step"], abs=0.002)
    kinds = ("convolutions", "matrix products", "gathering of latents", "other operations")
    assert sum(numbers[kind] for kind in kinds) == pytest.approx(100, abs=2)
    assert numbers["operations"] > 100


def test_tables_of_the_detail_layer_are_printed_as_code(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (260, 280, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    for kind in "encoder", "decoder":
        shutil.copy(golden_model("variable", kind), tmp_path / f"{kind}.model")
    encoder = tmp_path / "encoder.model"
    result = call("training.detail_steps", tmp_path, "--crops=1", "--encoder_path", encoder)
    assert result.returncode == 0, result.stderr
    tables = eval(f"dict({result.stdout})")
    assert {name: np.shape(table) for name, table in tables.items()} == {
        name: np.shape(getattr(detail.TUNES["eye"], name)) for name in ("log_factors", "decay")
    }


def test_tables_of_the_detail_layer_need_photographs_and_an_encoder_of_variable_mode(tmp_path, photos):
    result = call("training.detail_steps", photos)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1) and "256 pixels" in result.stderr
    result = call("training.detail_steps", photos, "--encoder_path", golden_model("soft", "encoder"))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1) and "variable" in result.stderr
