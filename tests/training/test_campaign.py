"""The long training: its stages one after the other, and its table."""

import os
import shutil
from unittest import mock

import graphs
import pytest
import torch
from calls import call
from photos import write_photos

from engines.pair import Decoder, Encoder
from training import campaign, progress, stages
from training.stages import Stage

SMALL = {"quantize_mode": "soft", "batch_size": 2, "crop": 64, "val_every": 1, "lr": 1e-4}
STAGES = (
    Stage("steady", SMALL | {"steps": 2, "decay": 0.0}),
    Stage("branch", SMALL | {"steps": 3, "decay": 0.5}, "steady", continues=True),
    Stage("decoder", SMALL | {"part": "decoder", "steps": 1}, "branch"),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, photos):
    """The folder of a campaign of three small stages."""
    folder = tmp_path_factory.mktemp("campaign")
    result = run(folder, photos, STAGES)
    assert result.returncode == 0, result.stderr
    return folder


def run(folder, photos, some, *more):
    arguments = "--data", photos, "--val", photos, "--output_dir", folder, "--carried", folder, *more
    with graphs.borrowed(), mock.patch.object(campaign, "STAGES", tuple(some)):
        return call("training.campaign", *arguments)


def table(folder):
    return progress.read(folder / campaign.TABLE)


def checkpoint(folder, stage):
    return torch.load(folder / stage / "last.pt", weights_only=True)


def test_a_stage_starts_from_the_pair_of_the_one_before(finished):
    encoder = Encoder.load(str(finished / "branch" / "encoder.model"), engine="torch")
    trained = checkpoint(finished, "decoder")["model"]
    assert torch.equal(trained["analysis.neck.weight"], encoder.transform.module.neck.weight)
    assert Decoder.load(str(finished / "decoder" / "decoder.model")).config == encoder.config


def test_a_stage_that_continues_has_the_steps_and_the_log_of_the_one_before(finished):
    steady, branch, decoder = (checkpoint(finished, stage.name) for stage in STAGES)
    assert (steady["step"], branch["step"], decoder["step"]) == (2, 3, 1)
    assert branch["elapsed"] > steady["elapsed"]
    logs = [progress.read(finished / name / "log.csv") for name in ("steady", "branch")]
    assert logs[1][:3] == logs[0]
    rates = [float(row["learning_rate"]) for row in table(finished)]
    assert rates[0] < rates[2] < rates[1]  # in the warm-up, in the decay, and between


def test_the_table_counts_the_hours_and_the_crops_of_all_stages(finished):
    rows = table(finished)
    names = [(row["stage"], row["step"]) for row in rows]
    assert names == [("steady", "1"), ("steady", "2"), ("branch", "3"), ("decoder", "1")]
    assert [float(row["crops"]) for row in rows] == pytest.approx([2, 4, 6, 8], abs=0.1)
    hours = [float(row["hours"]) for row in rows]
    assert hours == sorted(hours) and all(float(row["val_loss"]) > 0 for row in rows)
    assert (finished / "campaign.png").exists()


def test_a_campaign_goes_on_where_it_stopped(finished, photos, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "campaign")
    shutil.rmtree(folder / "decoder")
    (folder / "branch" / "encoder.model").unlink()
    before = (folder / "steady" / "last.pt").stat()
    assert run(folder, photos, STAGES).returncode == 0
    assert (folder / "steady" / "last.pt").stat() == before
    for name in "branch", "decoder":
        models = [root / name / "encoder.model" for root in (folder, finished)]
        assert models[0].read_bytes() == models[1].read_bytes()
    assert [row["crops"] for row in table(folder)] == [row["crops"] for row in table(finished)]


def test_a_later_stage_can_start_from_the_shipped_pair_and_the_table_goes_on(finished, photos, tmp_path):
    more = "--first", "branch", "--earlier", finished / campaign.TABLE
    assert run(tmp_path, photos, STAGES[:2], *more).returncode == 0
    rows = table(tmp_path)
    assert rows[:4] == table(finished) and [row["step"] for row in rows[4:]] == ["1", "2", "3"]
    assert [float(row["crops"]) for row in rows[4:]] == pytest.approx([10, 12, 14], abs=0.1)


def test_marks_of_what_was_shipped_stay(finished, photos, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "campaign")
    rows = table(folder)
    rows[2]["landed"] = "1.0"
    progress.write(rows, folder / campaign.TABLE)
    assert run(folder, photos, STAGES).returncode == 0
    assert table(folder) == rows


@pytest.mark.parametrize("case", ["same", "foreign"])
def test_a_table_that_cannot_be_gone_on_with_is_refused(case, finished, photos, tmp_path):
    shutil.copy(finished / campaign.TABLE, tmp_path)
    if case == "same":
        folder, path, message = tmp_path, tmp_path / campaign.TABLE, "--earlier is the table of --output_dir"
    else:
        folder, path = tmp_path / "campaign", finished / "steady" / "log.csv"
        message = "log.csv: not the table of a campaign"
    result = run(folder, photos, STAGES, "--earlier", path)
    assert result.returncode == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [campaign.TABLE]


def test_the_stages_can_be_done_in_their_order():
    shared, seen = {"data": ["a"], "val": ["b"]}, {None}
    for stage in stages.STAGES:
        assert stage.before in seen and stage.name not in seen
        assert campaign.settings_of(stage, "c", shared).output_dir == os.path.join("c", stage.name)
        seen.add(stage.name)
    first, *_ = campaign.stages_from("soft")
    assert first.start_from("c").endswith("model_B=10")
    steps = {stage.name: stage.settings["steps"] for stage in stages.STAGES}
    assert all(steps[stage.before] < steps[stage.name] for stage in stages.STAGES if stage.continues)
