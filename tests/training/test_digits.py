"""Which components share an integer."""

import itertools

import pytest
import torch

from coding import packing
from coding.errors import UserError
from training import digits


@pytest.mark.parametrize("room", [3, 4])
def test_what_is_wide_is_alone_and_what_is_narrow_is_shared(room):
    random = torch.Generator().manual_seed(0)
    y = torch.randn(8, 4000, generator=random) * torch.tensor([90.0, 5, 6, 1, 1, 20, 0.4, 0.3])[:, None]
    found = digits.share(y, 10, room)
    assert sum(found) == room and len(found) == 8
    every = (some for some in itertools.product((0, 1), repeat=8) if sum(some) == room)
    best = min(clipped(y, some) for some in every if possible(some))
    assert clipped(y, found) == pytest.approx(best)


def test_there_are_no_more_integers_than_components():
    assert digits.share(torch.randn(3, 100), 10, room=32) == (1, 1, 1)


def test_what_does_not_fit_is_one_line():
    with pytest.raises(UserError, match="7 components do not fit into 1 integers"):
        digits.share(torch.randn(7, 100), 10, room=1)


def possible(some):
    try:
        return bool(packing.groups(some, 10))
    except ValueError:
        return False


def clipped(y, found):
    most = [group.limit for group in packing.groups(found, 10) for _ in range(group.components)]
    most = torch.tensor(most)[:, None] + 0.5
    return (y - y.clamp(-most, most)).square().mean(1).sum().item()
