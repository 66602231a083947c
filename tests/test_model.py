"""The transforms, and their configuration."""

import dataclasses

import pytest

import model
from coding import config
from coding.config import ModelConfig
from conftest import small_config


@pytest.mark.parametrize("slices", [(1,) * 1024, (1000, 24), (0, 1024), (1, 2)])
def test_a_model_cannot_ask_for_more_slices_than_are_of_use(slices):
    with pytest.raises(ValueError):
        dataclasses.replace(model.default_config("variable"), digits=(1,) * 1024, slices=slices)


@pytest.mark.parametrize(
    "change",
    [
        {"quantize_mode": "hard", "digits": (1, 1, 1, 1, 1, 0)},
        {"quantize_mode": "other"},
        {"digits": (1.0,) * 6},
        {"digits": (2,) * 6},
        {"digits": (0, 1, 1, 1, 1, 1)},
        {"trunk_widths": (10**6, 10**6, 10**6)},
        {"trunk_widths": (4, 4)},
        {"added_blocks": (1, 1, 10**6)},
        {"added_blocks": (-1, 1, 1)},
        {"stages": ()},
        {"stages": ((4, 1, 1),) * 5},
        {"stages": ((10**6, 1, 1),)},
        {"stages": ((4, 10**6, 1),)},
        {"stages": ((4, 1),)},
        {"entropy_widths": (3, 8, 0)},
    ],
)
def test_a_model_cannot_ask_for_what_is_of_no_use(change):
    fields = dataclasses.asdict(small_config("soft"))
    assert ModelConfig(**fields)
    with pytest.raises(ValueError):
        config.from_lists(fields | change)
