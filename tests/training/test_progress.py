"""The table of a long training, and its picture."""

from unittest import mock

import pytest
from matplotlib import pyplot
from PIL import Image

from training import progress


def row(mode, stage, hours, landed=""):
    measured = {"learning_rate": "1e-3", "val_bpp": "0.3", "val_psnr": "31", "val_loss": str(1 / hours)}
    place = {"quantize_mode": mode, "tune": "psnr", "stage": stage, "step": "1", "hours": str(hours)}
    return place | {"crops": str(1e6 * hours)} | measured | {"landed": landed}


ROWS = [
    row("variable", "steady", 1.0),
    row("variable", "steady", 2.0),
    row("variable", "decay", 3.0, "1.0"),
    row("soft", "soft", 4.0),
]


def test_a_table_is_read_as_it_was_written(tmp_path):
    progress.write(ROWS, tmp_path / "campaign.csv")
    assert progress.read(tmp_path / "campaign.csv") == ROWS


def test_the_picture_has_a_line_for_each_stage_and_a_star_for_what_was_shipped(tmp_path):
    with mock.patch.object(pyplot, "close") as closed:
        progress.draw(ROWS, tmp_path / "campaign.png")
    figure = closed.call_args.args[0]
    panels = [
        {line.get_label(): list(line.get_xdata()) for line in panel.lines if line.get_marker() == "."}
        for panel in figure.axes
    ]
    assert panels[:2] == [{"steady": [1.0, 2.0], "decay": [3.0]}] * 2  # hours, and millions of crops
    assert panels[2] == {"soft": [4.0]}
    stars = [line for panel in figure.axes for line in panel.lines if line.get_marker() == "*"]
    assert [line.get_xdata()[0] for line in stars] == pytest.approx([3.0, 3.0])
    assert figure.axes[0].texts[0].get_text() == "1.0"
    assert Image.open(tmp_path / "campaign.png").format == "PNG"
