"""Which latents get the integers of hard mode, and that they are what the owner says."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import quantize
from coding import dealing, entropy, latents, order, scales, tiles
from coding.entropy_model import LOWEST_LOG_SCALE
from coding.latents import Latents
from coding.walk import Group
from conftest import build_pair, digits_of
from networks import walk
from networks.dealing import Dealer
from networks.entropy_model import network_of

WANTED = dealing.by_level(2)
STEPS = order.coding_steps(3)
SHARES = [
    Fraction(part, whole)
    for part, whole in ((9, 44), (9, 35), (9, 26), (9, 17), (3, 8), (3, 5), (1, 2), (1, 1))
]
CHANNELS = 30


def log_scales(seed, positions, spread, mean=-2):
    """Those of the latents at so many positions in each of STEPS, float64 (P, CHANNELS)."""
    random = np.random.default_rng(seed)
    normal = (random.normal(mean, spread, (positions, CHANNELS)) for _ in STEPS)
    return [np.rint(256 * part.clip(-5, 7)) / 256 for part in normal]


def groups(scales_of_steps, band):
    for step, log_scale in zip(STEPS, scales_of_steps):
        yield Group(step, band, np.arange(len(log_scale)), np.zeros_like(log_scale), log_scale, np.ones(1))


def deal(scales_of_steps, band):
    return dealing.deal(groups(scales_of_steps, band), STEPS, WANTED)


def count(group):
    """The integers that the latents of a group get."""
    return WANTED[scales.index_of(group.log_scale)].sum()


def test_integers_hold_what_nearly_all_distances_of_the_scale_are():
    assert not WANTED[: dealing.LEAST_LEVEL].any() and (np.diff(WANTED) >= 0).all()
    for level in range(dealing.LEAST_LEVEL, scales.LEVELS):
        wide, narrow = (dealing.limit(WANTED[level] - less, 2) + 0.5 for less in (0, 1))
        deviation = 2 ** scales.log_scale_of(level)
        assert wide / deviation >= dealing.DEVIATIONS > 0.91 * narrow / deviation


@given(st.integers(0, 99), st.integers(1, 9), st.sampled_from([-4.5, -2]), st.sampled_from([0.5, 2, 5]))
def test_as_many_integers_are_dealt_as_the_share_has_and_large_scales_come_first(
    seed, positions, mean, spread
):
    band, left = range(positions), dealing.ROOM * positions
    given_ = log_scales(seed, positions, spread, mean)
    for group, before in zip(deal(given_, band), given_):
        gets = group.log_scale > LOWEST_LOG_SCALE
        assert np.array_equal(group.log_scale[gets], before[gets])
        in_vain = (scales.level_of(before) >= dealing.LEAST_LEVEL) & ~gets
        assert not (gets & (scales.level_of(before) < dealing.LEAST_LEVEL)).any()
        share = int(left * SHARES[group.step.number])
        assert count(group) <= share
        if in_vain.any():
            first = before[in_vain].max()
            assert not gets.any() or before[gets].min() >= first
            assert count(group) + WANTED[scales.index_of(first)] > share
        left -= count(group)


def test_a_pass_has_three_times_the_share_of_a_pass_of_the_next_slice():
    assert dealing.shares(STEPS) == SHARES


def test_each_band_has_its_own():
    busy, quiet = log_scales(0, 4, 3), log_scales(1, 4, 1)
    both = (group for pair in zip(groups(busy, range(4)), groups(quiet, range(4, 8))) for group in pair)
    together = list(dealing.deal(both, STEPS, WANTED))
    for alone, found in (busy, together[::2]), (quiet, together[1::2]):
        for one, other in zip(deal(alone, range(4)), found):
            assert np.array_equal(one.log_scale, other.log_scale)


@pytest.mark.parametrize("spread", [1, 3])
def test_training_deals_as_coding_does_to_each_sample(spread):
    samples = [log_scales(seed, 6, spread) for seed in range(3)]
    dealer, coded = Dealer(torch.from_numpy(WANTED), STEPS, 6), []
    for sample in samples:
        coded.append([group.log_scale > LOWEST_LOG_SCALE for group in deal(sample, range(6))])
    for number, step in enumerate(STEPS):
        log_scale = torch.tensor(np.stack([sample[number] for sample in samples]))
        group = walk.Group(step, torch.arange(6), torch.zeros_like(log_scale), log_scale, torch.ones(1))
        assert np.array_equal(dealer.deal(group).numpy(), np.stack([one[number] for one in coded]))


@pytest.mark.parametrize("room, band", [(1, 4096), (3, 4096), (32, 4096), (32, 36)])
def test_what_is_coded_are_integers_in_0_to_4_of_which_there_are_so_many(room, band, monkeypatch):
    """The owner's claim for hard mode: with the room of 32, 32,768 of them for a picture of 512x512."""
    assert dealing.ROOM * (512 // 16) ** 2 == 32_768
    monkeypatch.setattr(dealing, "ROOM", room)
    monkeypatch.setattr(latents, "BAND", band)
    coder = build_pair("hard")[0].coder
    random = np.random.default_rng(0)
    real = Latents(random.normal(0, 40, (8, 9, 40)), random.normal(0, 2, (2, 3, 3)))
    (quantized,) = coder.decode(coder.encode([real], 0.0), (8, 9), 0.0)
    digits = digits_of(coder, quantized)
    assert torch.equal(digits, digits.round()) and digits.min() == 0 and digits.max() == 4
    assert 0.5 * room * 72 < len(digits) <= room * 72


def test_training_finds_what_is_coded_where_integers_are_scarce():
    """But for rounding in the arithmetic, which lets a few others go without."""
    encoder = build_pair("hard")[0]
    coder, random = encoder.coder, np.random.default_rng(0)
    real = Latents(random.normal(0, 5, (8, 8, 40)), random.normal(0, 2, (2, 2, 3)))
    measured = coder.measure(real, 0.0)
    network, policies = network_of(coder.entropy_model, encoder.config), quantize.policies("dealt", 2)
    y, z = (torch.from_numpy(tiles.to_input(part)) for part in (real.y, real.z))
    with torch.inference_mode():
        quantized = network.quantize(y, z, torch.zeros(1), policies.round)[2]
    difference = np.abs(tiles.from_output(quantized.numpy()) - measured.y)
    assert (difference < 0.1).mean() > 0.9


def test_a_distance_that_its_digits_do_not_hold_is_refused():
    coder = build_pair("hard")[0].coder
    zero = Latents(np.zeros((1, 1, 40)), np.zeros((1, 1, 3)))
    integers, contexts = latents.symbols(coder.entropy_model, coder.kind, zero, 0.0)
    last = len(integers) - 1
    held = coder.kind.distance_limits[(contexts[last] - len(latents.HYPER_MODELS)) % scales.LEVELS]
    for sign in -1, 1:
        for beyond in 0, 1:
            integers[last] = sign * (held + beyond)
            writer = entropy.Writer(coder.bank)
            writer.write(integers, contexts)
            if beyond:
                with pytest.raises(entropy.PayloadError):
                    list(coder.decode(writer.close(), (1, 1), 0.0))
            else:
                list(coder.decode(writer.close(), (1, 1), 0.0))
