"""What is measured, and of what."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from coding.errors import UserError
from conftest import ROOT
from evaluation import images, measure, metrics, rivals

LENA = os.path.join(ROOT, "resources/test_images/lena.png")


def test_trials_are_of_each_mode_quality_and_effort_once():
    trials = measure.trials(["hard", "variable"], [3, 5, 3], [0, 50])
    assert [(trial.codec, trial.setting) for trial in trials] == [
        ("hard", "B=2"),
        ("hard, effort 50", "B=2"),
        ("variable", "quality 3"),
        ("variable, effort 50", "quality 3"),
        ("variable", "quality 5"),
        ("variable, effort 50", "quality 5"),
    ]
    assert measure.to_be_shown(trials) == trials[2:] and measure.to_be_shown(trials[:1]) == trials[:1]


def test_what_is_shown_is_spread_over_the_qualities():
    shown = measure.to_be_shown(measure.trials(["soft", "variable"], range(1, 11), [0]))
    assert [trial.setting for trial in shown] == ["quality 3", "quality 6", "quality 8"]


def test_by_default_each_mode_has_the_tune_of_encode_py():
    trials = measure.trials(["soft", "variable"], [3], [0])
    assert [(trial.codec, trial.tune) for trial in trials] == [("soft", "psnr"), ("variable", "eye")]


def test_trials_of_each_tune_are_codecs_of_their_own_and_modes_of_one_rate_have_one():
    trials = measure.trials(["soft", "variable"], [3], [0, 50], ["psnr", "eye"])
    assert [trial.codec for trial in trials] == [
        "soft",
        "soft, effort 50",
        "variable, tune=psnr",
        "variable, tune=psnr, effort 50",
        "variable",
        "variable, effort 50",
    ]


def test_a_mode_without_a_tune_is_left_out_with_a_line(caplog):
    trials = measure.trials(["hard", "variable"], [3], [0], ["eye"])
    assert [trial.codec for trial in trials] == ["variable"]
    assert caplog.messages == ["without hard mode, which has no model for --tunes eye"]


def test_folders_without_images_are_an_error_where_there_is_nothing_else(tmp_path, caplog):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    assert images.find([str(tmp_path / "empty"), str(tmp_path / "a.png")]) == [
        (str(tmp_path / "a.png"), "a.png")
    ]
    assert caplog.messages == [f"{tmp_path / 'empty'}: no images there"]
    with pytest.raises(UserError, match="no images there"):
        images.find([str(tmp_path / "empty")])


def test_a_missing_codec_is_said_once_and_left_out(monkeypatch, caplog):
    metrics.load_lpips.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setenv("PATH", "")
    assert rivals.available(["jxl", "jpeg", "jxl"]) == ["jpeg"] and metrics.installed() == []
    assert caplog.messages == [
        "without JPEG XL: the package pillow-jxl-plugin is not installed",
        "without Butteraugli: the program butteraugli_main is not on the PATH",
        "without LPIPS: the package lpips is not installed",
    ]


def test_files_of_one_name_keep_their_paths(tmp_path):
    for folder in "x", "y":
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    paths = [str(tmp_path / name) for name in ("x", "y", "b.png", "b.png")]
    assert [name for _, name in images.find(paths)] == [f"{paths[0]}/a.png", f"{paths[1]}/a.png", "b.png"]


def test_alpha_and_orientation_are_the_same_for_all_codecs(tmp_path):
    rgba = np.asarray(Image.open(LENA).resize((48, 32)).convert("RGBA")).copy()
    rgba[:, :, 3] = np.random.default_rng(0).integers(0, 256, (32, 48))
    image = Image.fromarray(rgba)
    exif = image.getexif()
    exif[274] = 6  # to be turned by 90 degrees
    image.save(tmp_path / "a.png", exif=exif)
    trial = measure.Trial("hard", None, 0, "psnr")
    measured = measure.measure(str(tmp_path / "a.png"), "a.png", measure.Plan([trial], ["jpeg"], [trial]))
    assert (measured.width, measured.height) == (32, 48) and measured.notes == []
    ours = next(row for row in measured.rows if row["codec"] == "hard")
    assert ours["bytes"] < 1000  # the noise of the alpha plane alone would be more
