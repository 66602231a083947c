"""evaluate.py as a user runs it, with the shipped models."""

import csv
import os

import numpy as np
import pytest
from calls import call
from PIL import Image

import codec
from conftest import ROOT
from engines import shipped
from engines.pair import Decoder, Encoder
from evaluation import butteraugli, metrics, results

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
    assert result.returncode == code and result.stdout == "", result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_everything_is_measured_and_kept(images, tmp_path):
    options = "--modes hard variable --qualities 1 3 6 9 --against jpeg WebP".split()
    result = call("evaluate.py", images, *options, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    names = ["butteraugli"] * (butteraugli.path() is not None) + ["ms_ssim", "psnr", "ssimulacra2"]
    charts = [f"{name}{part}.png" for name in names for part in ("", "_images")]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(
        [*charts, "bd_rates.csv", "results.csv", "results.json"]
    )
    found = results.read(tmp_path / "out")
    assert found["images"] == [
        {"name": "a.png", "width": 176, "height": 192},
        {"name": "b.png", "width": 70, "height": 50},
    ]
    assert found["ours"] == ["hard", "variable"]
    assert results.codecs(found) == ["JPEG", "WebP", "hard", "variable"]
    rows = found["rows"]
    assert len(list(csv.DictReader(open(tmp_path / "out/results.csv")))) == len(rows)
    for row in rows:
        image = next(image for image in found["images"] if image["name"] == row["image"])
        assert row["bpp"] == pytest.approx(8 * row["bytes"] / (image["width"] * image["height"]), abs=1e-5)
        assert 5 < row["PSNR"] < 60 and row["encode s"] >= 0 and row["decode s"] >= 0
        assert (row["MS-SSIM"] is None) == (row["image"] == "b.png")
        assert row["MS-SSIM"] is None or 0.3 < row["MS-SSIM"] <= 1
        assert (row["SSIMULACRA2"] is None) == (row["image"] == "b.png")
        assert row["SSIMULACRA2"] is None or -300 < row["SSIMULACRA2"] < 100

    ours = [row for row in rows if row["codec"] == "variable" and row["image"] == "a.png"]
    assert [row["setting"] for row in ours] == ["quality 1", "quality 3", "quality 6", "quality 9"]
    encoder = Encoder.load(shipped.path("variable", "encoder"))
    decoder = Decoder.load(shipped.path("variable", "decoder"))
    original = Image.open(images / "a.png")
    data = codec.compress(original, encoder, quality=3)
    assert ours[1]["bytes"] == len(data)
    psnr = metrics.psnr(codec.decompress(data, decoder), original)
    assert ours[1]["PSNR"] == pytest.approx(psnr, abs=0.02)

    (hard,) = [row for row in rows if row["codec"] == "hard" and row["image"] == "a.png"]
    same = [row for row in rows if row["same bytes as"] and row["image"] == "a.png"]
    assert [(row["codec"], row["same bytes as"]) for row in same] == [
        ("JPEG", "hard, B=2"),
        ("WebP", "hard, B=2"),
    ]
    assert same[0]["setting"].startswith("quality 1,")  # there is no JPEG file so small
    smallest = min(row["bytes"] for row in rows if row["codec"] == "WebP" and row["image"] == "a.png")
    assert same[1]["bytes"] == smallest > hard["bytes"]  # nor a WebP file
    for name in "JPEG", "WebP":
        points, bpp = results.curve(found, name, "a.png"), ours[2]["bpp"]
        below = max(psnr for rate, psnr in points if rate <= bpp)
        above = min(psnr for rate, psnr in points if rate >= bpp)
        assert below <= ours[2][f"{name} PSNR"] <= above
    assert found["versions"]["libjpeg-turbo"] and f"pillow {found['versions']['pillow']}" in result.stdout
    assert {pair["against"] for pair in found["bd_rate"]} == {"JPEG", "WebP"}
    titles = [f"BD-rate by {metric}: " for metric in ("PSNR", "MS-SSIM", "SSIMULACRA2")]
    assert all(line in result.stdout for line in [*titles, "a.png", "mean curve", "30 to 50"])


def test_other_codecs_are_taken_over_from_results_of_before(images, tmp_path):
    options = ["--modes", "variable", "--qualities", 1, 3]
    first = call("evaluate.py", images, *options, "--against", "jpeg", "--output", tmp_path / "1")
    again = call("evaluate.py", images, *options, "--others_from", tmp_path / "1", "--output", tmp_path / "2")
    assert first.returncode == again.returncode == 0, again.stderr
    found = [results.read(tmp_path / name) for name in ("1", "2")]
    rows = [sorted(map(without_seconds, one["rows"]), key=str) for one in found]
    assert rows[0] == rows[1] and found[0]["bd_rate"] == found[1]["bd_rate"]
    wrong = call("evaluate.py", images, "--others_from", tmp_path / "1", "--report", tmp_path / "3")
    assert wrong.returncode == 2 and "--others_from" in wrong.stderr


def without_seconds(row):
    return {key: value for key, value in row.items() if not key.endswith(" s")}


def test_jobs_change_nothing_but_the_seconds(images, tmp_path, script):
    tables = []
    for jobs in 1, 2:
        options = ["--modes", "soft", "--against", "jpeg", "--jobs", jobs, "--output", tmp_path / str(jobs)]
        result = (call if jobs == 1 else script)("evaluate.py", images, *options)
        assert result.returncode == 0, result.stderr
        rows = results.read(tmp_path / str(jobs))["rows"]
        tables.append([without_seconds(row) for row in rows])
    assert tables[0] == tables[1] and len(tables[0]) == 2 * (26 + 1 + 1)


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(images, tmp_path, script):
    Image.new("RGB", (16_400, 16)).save(images / "long.png")  # longer than WebP can be
    (images / "c.jpg").write_bytes(b"not an image")
    (tmp_path / "empty").mkdir()
    paths, options = (
        [images, tmp_path / "empty", tmp_path / "none.png"],
        ["--modes", "hard", "--against", "webp"],
    )
    result = script("evaluate.py", *paths, *options, "--output", tmp_path / "out")
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


def test_nothing_measured_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(b"not an image")
    assert len(refused(call("evaluate.py", tmp_path / "empty")).splitlines()) == 1
    assert "none of the images" in refused(
        call("evaluate.py", tmp_path / "a.png", "--modes", "hard", "--against")
    )
    assert "exists" in refused(call("evaluate.py", LENA, "--modes", "hard", "--output", tmp_path / "a.png"))


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


def test_a_tune_that_no_mode_has_is_an_error(script):
    result = script("evaluate.py", LENA, "--modes", "hard", "--tunes", "eye")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].endswith("none of the modes has a model for the tunes")


def test_evaluate_measures_a_folder_and_goes_on_after_a_bad_image(tmp_path, script):
    images = tmp_path / "images"
    images.mkdir()
    lena = Image.open(LENA)
    lena.crop((200, 200, 328, 296)).save(images / "a.png")
    lena.crop((0, 0, 128, 96)).convert("L").save(images / "b.png")
    (images / "c.png").write_text("not an image")
    (images / "notes.txt").write_text("not an image either")
    options = ["--modes", "hard", "--effort", 0, 10, "--csv", tmp_path / "rows.csv"]
    result = script("evaluate.py", images, *options)
    assert result.returncode == 0 and "Traceback" not in result.stderr
    assert result.stderr.count("left out") == 1 and "c.png" in result.stderr
    rows = list(csv.DictReader(open(tmp_path / "rows.csv")))
    asked = [(name, effort) for effort in ("0", "10") for name in ("a.png", "b.png")]
    assert [(row["image"], row["effort"]) for row in rows] == asked
    table = [line.split() for line in result.stdout.splitlines()]
    assert [line[:4] for line in table[1:3]] == [
        ["hard", "psnr", "-", "0"],
        ["hard", "psnr", "-", "10"],
    ]
    for line, part in zip(table[1:3], (rows[:2], rows[2:])):
        assert float(line[6]) == pytest.approx(np.mean([float(row["bpp"]) for row in part]), abs=1e-4)
        assert float(line[7]) == pytest.approx(np.mean([float(row["PSNR"]) for row in part]), abs=0.01)
    encoder = Encoder.load(shipped.path("hard", "encoder"))
    assert rows[0]["bytes"] == str(len(codec.compress(Image.open(images / "a.png"), encoder)))
