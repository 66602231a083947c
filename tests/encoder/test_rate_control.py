"""The search for a score, on curves of which everything is known."""

import numpy as np
import pytest

from coding.modes import MODES
from encoder import rate_control

NUMBERS = MODES["variable"].numbers


def search(target, curve):
    """The number that is found for a target on a curve, of a score for each number, and what was tried."""
    tried = []

    def score_at(number):
        tried.append(number)
        return curve[NUMBERS.index(number)]

    found = rate_control.number_of_score(target, NUMBERS, score_at)
    assert len(tried) == len(set(tried)) <= 4 and found in tried
    assert abs(curve[found] - target) == min(abs(curve[number] - target) for number in tried)
    return found, tried


def curve_of(lowest, highest, bend):
    """Scores that rise from one to another, fast at first."""
    return highest - (highest - lowest) * np.linspace(1, 0, len(NUMBERS)) ** bend


@pytest.mark.parametrize("lowest, highest, bend", [(-30, 90, 1.6), (0, 92, 2), (20, 95, 1.5), (40, 99, 1)])
@pytest.mark.parametrize("target", [45, 60, 75, 88])
def test_four_codings_are_enough_for_any_picture(lowest, highest, bend, target):
    curve = curve_of(lowest, highest, bend)
    found, _ = search(target, curve)
    assert abs(curve[found] - target) <= 1


def test_what_is_near_enough_is_not_searched_further():
    usual = np.interp(np.linspace(1, 10, len(NUMBERS)), *zip(*rate_control.USUAL_SCORES))
    assert len(search(60, usual)[1]) == 1
    assert len(search(60, usual + 20)[1]) > 1


@pytest.mark.parametrize("target, number", [(10, NUMBERS[0]), (95, NUMBERS[-1])])
def test_a_target_beyond_all_scores_gets_the_rate_at_the_end(target, number):
    assert search(target, curve_of(20, 90, 1.5))[0] == number


def test_pictures_that_are_exact_at_any_rate_get_the_lowest():
    assert search(75, np.full(len(NUMBERS), 100.0)) == (NUMBERS[0], [search(75, curve_of(0, 99, 1))[1][0], 0])


def test_a_jump_of_the_scores_is_no_trap():
    """As where a picture is kept exactly from some rate on."""
    curve = curve_of(0, 80, 1.5)
    curve[120:] = 100
    assert curve[search(90, curve)[0]] == 100
