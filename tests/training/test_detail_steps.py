"""What is learned for the detail layer: the same tables each time, and better ones."""

import dataclasses

import numpy as np
import pytest

from coding import detail
from networks import errors
from training import detail_steps

STEPS = [6.0, 10.0]


@pytest.fixture(scope="module")
def samples():
    """Differences that are larger at low frequencies, on gray ground with some texture."""
    random = np.random.default_rng(0)
    spread = 40 / (1 + np.add.outer(range(16), range(16)))
    made = []
    for _ in range(2):
        lacking = detail.invert(random.laplace(0, spread, (3, 4, 4, 16, 16)), detail.TUNES["psnr"])
        pixels = np.rint(random.normal(128, 10, (64, 64, 1)).repeat(3, 2))
        made.append(detail_steps.Sample(pixels.astype(np.float32), np.rint(lacking).astype(np.float32)))
    return made


@pytest.fixture(scope="module")
def learned(samples):
    return detail_steps.learn(samples, STEPS, detail.TUNES["eye"], errors.seen)


def size(samples, tune):
    return sum(len(detail.encode([sample.lacking], step, tune)) for sample in samples for step in STEPS)


def test_tables_are_the_same_each_time(samples, learned):
    assert detail_steps.learn(samples, STEPS, detail.TUNES["eye"], errors.seen) == learned


def test_they_keep_the_loss_in_fewer_bytes(samples, learned):
    usual = detail.TUNES["psnr"]
    losses = [detail_steps.mean_log_loss(samples, STEPS, tune, errors.seen) for tune in (usual, learned)]
    assert losses[1] == pytest.approx(losses[0], abs=0.1) and losses[1] <= losses[0]
    assert size(samples, learned) < 0.95 * size(samples, usual)


def test_initial_probabilities_are_those_of_what_is_coded(samples, learned):
    unlearned = dataclasses.replace(learned, decay=detail.TUNES["psnr"].decay)
    assert size(samples, learned) < size(samples, unlearned)


def test_where_errors_count_alike_steps_are_alike(samples):
    tune = detail_steps.learn(samples, STEPS, detail.TUNES["psnr"], errors.squared)
    assert np.abs(tune.log_factors).max() <= 1


def test_steps_follow_how_much_errors_count(samples):
    """Errors of the first channel, the sum of the three colours, count 16 times as much here."""

    def loss(pixels, reference):
        return errors.squared(pixels, reference) + 15 * (pixels - reference).mean(1).square().mean((1, 2))

    tune = detail_steps.learn(samples, STEPS, detail.TUNES["psnr"], loss)
    bright, *colours = tune.log_factors
    assert max(bright) + 8 < min(map(min, colours))
