"""evaluate.py as a user runs it, with the shipped models."""

import csv
import os
import sys

import numpy as np
import pytest
from PIL import Image

import codec
import evaluate
import measure
import metrics
import model
import results
from conftest import ROOT

LENA = os.path.join(ROOT, "resources/test_images/lena.png")


@pytest.fixture
def images(tmp_path):
    """A folder with a colour image, large enough for MS-SSIM, and a small gray one."""
    folder = tmp_path / "images"
    folder.mkdir()
    lena = Image.open(LENA)
    lena.crop((200, 200, 376, 392)).save(folder / "a.png")
    lena.crop((0, 0, 70, 50)).convert("L").save(folder / "b.png")
    return folder


def refused(result, code=1):
    assert result.returncode == code and result.stdout == "" and "Traceback" not in result.stderr, (
        result.stderr
    )
    return result.stderr


def test_everything_is_measured_and_kept(images, tmp_path, script):
    result = script(
        "evaluate.py",
        images,
        "--modes",
        "hard",
        "variable",
        "--qualities",
        1,
        3,
        6,
        9,
        "--against",
        "jpeg",
        "WebP",
        "--output",
        tmp_path / "out",
    )
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(tmp_path / "out")) == [
        "ms_ssim.png",
        "ms_ssim_images.png",
        "psnr.png",
        "psnr_images.png",
        "results.csv",
        "results.json",
    ]
    found = results.read(tmp_path / "out")
    assert found["images"] == [
        {"name": "a.png", "width": 176, "height": 192},
        {"name": "b.png", "width": 70, "height": 50},
    ]
    assert found["ours"] == ["hard", "variable"] and results.codecs(found) == [
        "JPEG",
        "WebP",
        "hard",
        "variable",
    ]
    rows = found["rows"]
    assert len(list(csv.DictReader(open(tmp_path / "out/results.csv")))) == len(rows)
    for row in rows:
        image = next(image for image in found["images"] if image["name"] == row["image"])
        assert row["bpp"] == pytest.approx(8 * row["bytes"] / (image["width"] * image["height"]), abs=1e-5)
        assert 5 < row["PSNR"] < 60 and row["encode s"] >= 0 and row["decode s"] >= 0
        assert (row["MS-SSIM"] is None) == (row["image"] == "b.png")
        assert row["MS-SSIM"] is None or 0.3 < row["MS-SSIM"] <= 1

    ours = [row for row in rows if row["codec"] == "variable" and row["image"] == "a.png"]
    assert [row["setting"] for row in ours] == ["quality 1", "quality 3", "quality 6", "quality 9"]
    pair = [
        model.load(os.path.join(ROOT, "models/model_variable", f"{kind}.model"), kind)
        for kind in ("encoder", "decoder")
    ]
    original = Image.open(images / "a.png")
    data = codec.compress(original, pair[0], quality=3)
    assert ours[1]["bytes"] == len(data)
    assert ours[1]["PSNR"] == pytest.approx(metrics.psnr(codec.decompress(data, pair[1]), original), abs=0.02)

    same = [row for row in rows if row["same bytes as"] == "variable, quality 6" and row["image"] == "a.png"]
    assert [row["codec"] for row in same] == ["JPEG", "WebP"]
    for row in same:
        assert row["bytes"] == pytest.approx(ours[2]["bytes"], rel=0.1)
        assert row["PSNR"] == pytest.approx(ours[2][f"{row['codec']} PSNR"], abs=0.5)
    assert {pair["against"] for pair in found["bd_rate"]} == {"JPEG", "WebP"}
    assert all(line in result.stdout for line in ("BD-rate", "a.png", "mean"))


def test_jobs_change_nothing_but_the_seconds(images, tmp_path, script):
    tables = []
    for jobs in 1, 2:
        result = script(
            "evaluate.py",
            images,
            "--modes",
            "soft",
            "--against",
            "jpeg",
            "--jobs",
            jobs,
            "--output",
            tmp_path / str(jobs),
        )
        assert result.returncode == 0, result.stderr
        rows = results.read(tmp_path / str(jobs))["rows"]
        tables.append([{key: value for key, value in row.items() if not key.endswith(" s")} for row in rows])
    assert tables[0] == tables[1] and len(tables[0]) == 2 * (24 + 1 + 1)


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(images, tmp_path, script):
    Image.new("RGB", (16_400, 16)).save(images / "long.png")  # longer than WebP can be
    (images / "c.jpg").write_bytes(b"not an image")
    (tmp_path / "empty").mkdir()
    result = script(
        "evaluate.py",
        images,
        tmp_path / "empty",
        tmp_path / "none.png",
        "--modes",
        "hard",
        "--against",
        "webp",
        "--output",
        tmp_path / "out",
    )
    assert result.returncode == 0 and "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("without ")]
    assert len(lines) == 4, lines
    for name, reason in [
        ("empty", "no images there"),
        ("long.png", "WebP cannot take it"),
        ("c.jpg", "not an image"),
        ("none.png", "No such file"),
    ]:
        assert sum(name in line and reason in line for line in lines) == 1, (name, lines)
    found = results.read(tmp_path / "out")
    assert [image["name"] for image in found["images"]] == ["a.png", "b.png", "long.png"]
    assert {row["codec"] for row in found["rows"] if row["image"] == "long.png"} == {"hard"}


def test_nothing_measured_is_an_error(tmp_path, script):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(b"not an image")
    assert len(refused(script("evaluate.py", tmp_path / "empty")).splitlines()) == 1
    assert "none of the images" in refused(
        script("evaluate.py", tmp_path / "a.png", "--modes", "hard", "--against")
    )
    assert "exists" in refused(script("evaluate.py", LENA, "--modes", "hard", "--output", tmp_path / "a.png"))


@pytest.mark.parametrize(
    "options",
    [
        [],
        [LENA, "--modes", "medium"],
        [LENA, "--against", "gif"],
        [LENA, "--qualities", "0"],
        [LENA, "--effort", "-1"],
        [LENA, "--jobs", "0"],
        [LENA, "--qualities", "nan"],
    ],
)
def test_wrong_usage_exits_with_2(script, options):
    refused(script("evaluate.py", *options), 2)


def test_a_missing_codec_is_said_once_and_left_out(monkeypatch, capsys):
    metrics.load_lpips.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert evaluate.available(["jxl", "jpeg", "jxl"]) == (["jpeg"], False)
    assert capsys.readouterr().err.splitlines() == [
        "without JPEG XL: the package pillow-jxl-plugin is not installed",
        "without LPIPS: the package lpips is not installed",
    ]


def test_files_of_one_name_keep_their_paths(tmp_path):
    for folder in "x", "y":
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    paths = [str(tmp_path / name) for name in ("x", "y", "b.png", "b.png")]
    assert [name for _, name in evaluate.find_images(paths)] == [
        f"{paths[0]}/a.png",
        f"{paths[1]}/a.png",
        "b.png",
    ]


def test_alpha_and_orientation_are_the_same_for_all_codecs(tmp_path):
    rgba = np.asarray(Image.open(LENA).resize((48, 32)).convert("RGBA")).copy()
    rgba[:, :, 3] = np.random.default_rng(0).integers(0, 256, (32, 48))
    image = Image.fromarray(rgba)
    exif = image.getexif()
    exif[274] = 6  # to be turned by 90 degrees
    image.save(tmp_path / "a.png", exif=exif)
    setting = measure.Setting("hard", None, 0)
    measured = measure.measure(str(tmp_path / "a.png"), "a.png", [setting], ["jpeg"], [setting])
    assert (measured.width, measured.height) == (32, 48) and measured.notes == []
    ours = next(row for row in measured.rows if row["codec"] == "hard")
    assert ours["bytes"] < 1000  # the noise of the alpha plane alone would be more
