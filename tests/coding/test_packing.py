"""Which components and integers hold each other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import quantize
from coding import packing
from model import default_config

GROUPS = st.lists(st.sampled_from([(1,), (1, 0), (1, 0, 0), (1, 0, 0, 0, 0, 0)]), min_size=1, max_size=9)


def limits_of(digits, B):
    return [group.limit for group in packing.groups(digits, B) for _ in range(group.components)]


@given(GROUPS, st.integers(0, 99))
def test_all_that_is_within_the_limits_has_integers_of_its_own(groups, seed):
    digits = sum(groups, ())
    limits = limits_of(digits, 10)
    assert len(limits) == len(digits) and min(limits) >= 1
    random = np.random.default_rng(seed)
    y = torch.tensor([[random.integers(-limit, limit + 1) for limit in limits] for _ in range(8)])
    y = y.double().view(8, -1, 1, 1)
    b = quantize.to_integers(y, digits, 10)
    assert b.shape[1] == sum(digits) and b.min() >= 0 and b.max() <= 2**10
    assert torch.equal(torch.floor(b), b)
    assert torch.allclose(quantize.from_integers(b, digits, 10).double(), y, rtol=1e-6)


def test_limits_are_those_of_the_levels():
    assert limits_of((1, 1, 0, 1, 0, 0, 1, 0, 0, 0), 10) == [512, 15, 15, 4, 4, 4, 2, 2, 2, 2]


@pytest.mark.parametrize("digits, B", [((0, 1), 10), ((1,) + (0,) * 6, 10), ((1, 0), 2)])
def test_what_cannot_be_shared_is_refused(digits, B):
    with pytest.raises(ValueError):
        packing.groups(digits, B)


def test_a_picture_of_512x512_has_32768_integers():
    """The owner's claim, of what training starts from."""
    assert sum(default_config("soft").digits) * (512 // 16) ** 2 == 32_768
