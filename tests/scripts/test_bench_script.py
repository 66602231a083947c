"""bench.py as a user runs it, on a picture of 64x64."""

import os

import pytest
from PIL import Image

import bench
from evaluation.bench import codecs, run


@pytest.mark.parametrize("name", ["bench.py", "evaluate.py", "train.py"])
def test_help_shows_examples(name, script):
    result = script(name, "--help")
    assert result.returncode == 0 and f"python3 {name}" in result.stdout


def test_a_run_is_written_and_can_be_shown_again(script, tmp_path):
    options = ["--only", "codecs", "--sizes", 0.004, "--repeats", 1, "--against", "jpeg"]
    result = script("bench.py", *options, "--output_dir", tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no bar where nobody looks
    found = run.read(tmp_path)
    assert [row["of"] for row in found["rows"]] == [
        "AutoCompressor, hard",
        "AutoCompressor, soft",
        "AutoCompressor, variable",
        "JPEG",
    ]
    for row in found["rows"]:
        assert row["pixels"] == 64 * 64 and row["bytes"] > 0
        assert len(row["encode seconds"]) == len(row["decode seconds"]) == 1
        assert row["encode MB"] > 5 and row["decode MB"] > 5
    assert found["versions"]["python"] and found["machine"]["cores"] == os.cpu_count()
    assert str(tmp_path) not in (tmp_path / "bench.json").read_text()
    Image.open(tmp_path / "bench.png").load()
    assert sorted(os.listdir(tmp_path)) == ["bench.json", "bench.png"]  # and nothing beside

    again = script("bench.py", "--read", tmp_path)
    assert again.stdout == result.stdout and "JPEG, quality 75" in again.stdout


def test_the_options_name_everything_that_can_be_measured():
    assert list(codecs.AGAINST) == bench.CODECS and list(run.PARTS) == bench.PARTS


@pytest.mark.parametrize(
    "options", [["--repeats", 0], ["--sizes", 0], ["--sizes", 1000], ["--only", "speed"]]
)
def test_what_cannot_be_measured_is_refused_at_once(options, script):
    result = script("bench.py", *options)
    assert result.returncode == 2 and "bench.py: error" in result.stderr
