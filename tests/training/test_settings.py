"""What a run can be asked for."""

import os

import pytest

from coding.errors import UserError
from training.settings import Settings


@pytest.mark.parametrize(
    "change, message",
    [
        ({"crop": 100}, "multiple of 64"),
        ({"crop": 0}, "multiple of 64"),
        ({"steps": 0}, "must be positive"),
        ({"minutes": -1.0}, "must be positive"),
        ({"dry_run": True, "resume": True}, "leave --resume out"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        Settings(["photos"], "soft", **change)


def test_what_is_not_said_follows_from_the_mode():
    soft, hard = Settings(["photos"], "soft"), Settings(["photos"], "hard", dry_run=True, lambda_=0.01)
    assert (soft.lambda_, hard.lambda_) == (0.0034, 0.01)
    assert soft.path("last.pt") == os.path.join("runs", "soft", "last.pt") and "dry-run" in hard.output_dir
    assert (hard.steps, hard.batch_size) == (2, 2) and soft.image_limit is None


def test_the_nearer_limit_counts():
    settings = Settings(["photos"], "soft", steps=100, minutes=10.0)
    assert settings.progress(50, 60.0) == 0.5 and settings.progress(50, 540.0) == 0.9
