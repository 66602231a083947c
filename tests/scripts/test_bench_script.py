"""bench.py, whose engine of pure Python takes a minute on a whole image."""

import pytest
from PIL import Image

from evaluation import speed


@pytest.mark.parametrize("name", ["bench.py", "evaluate.py", "train.py"])
def test_help_shows_examples(name, script):
    result = script(name, "--help")
    assert result.returncode == 0 and f"python3 {name}" in result.stdout


def test_both_engines_are_timed(soft_pair, photo):
    lines = list(speed.coder_lines(Image.fromarray(photo), soft_pair[0]))
    assert [line.split(" ")[:3] for line in lines] == [
        ["soft,", "bank,", "encode"],
        ["soft,", "bank,", "decode"],
        ["soft,", "one", "model,"],
        ["soft,", "one", "model,"],
    ]


def test_the_whole_codec_takes_time(variable_pair, photo):
    times = speed.time_codec(Image.fromarray(photo), *variable_pair)
    assert times.whole == times.encode + times.decode > 0
    assert "times its network" in times.line("variable")
