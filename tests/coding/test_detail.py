"""The detail layer: what comes back, and in how many bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coding import detail, entropy
from coding.entropy import PayloadError


def lacking(rows, columns, channels, spread, seed=0):
    """Differences as decoded pixels have them: most of them small."""
    random = np.random.default_rng(seed)
    return np.rint(random.laplace(0, spread, (16 * rows, 16 * columns, channels))).astype(np.int16)


PSNR, EYE = detail.TUNES["psnr"], detail.TUNES["eye"]
TUNES = pytest.mark.parametrize("tune", [PSNR, EYE], ids=["psnr", "eye"])


@TUNES
@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.floats(0, 100),
    st.floats(0.5, 20),
)
def test_differences_come_back_within_the_step(tune, heights, columns, channels, spread, step):
    stripes = [lacking(rows, columns, channels, spread, seed) for seed, rows in enumerate(heights)]
    content = detail.encode(stripes, step, tune)
    restored = list(detail.decode(content, [stripe.shape for stripe in stripes], step, tune))
    steps = detail.steps(step, tune, channels)
    for stripe, back in zip(stripes, restored, strict=True):
        assert back.shape == stripe.shape
        error = detail.transform(back - stripe, tune)
        assert (np.abs(error) <= steps * (0.5 + detail.DEAD_ZONE) + 1e-2).all()


@TUNES
def test_tables_have_a_number_for_each_class(tune):
    assert np.shape(tune.colours) == (3, 3)
    assert np.shape(tune.log_factors) == (3, detail.step_classes().max() + 1)
    assert np.shape(tune.decay) == (2 * detail.CLASSES_OF_DIAGONALS, len(detail.NEARBY) + 1)
    assert detail.steps(6, tune, 3).shape == (3, 1, 1, 16, 16)


def test_for_psnr_all_steps_are_equal_and_errors_are_those_of_coefficients():
    assert (detail.steps(5, PSNR, 3) == 5).all()
    stripe = lacking(2, 3, 3, 20)
    squares = np.square(detail.transform(stripe, PSNR)).sum()
    assert squares == pytest.approx(np.square(stripe.astype(float)).sum(), rel=1e-5)


def test_for_the_eye_bright_low_frequencies_are_finest_and_errors_of_colours_coarse():
    steps = detail.steps(1, EYE, 3)[:, 0, 0]
    assert steps[0, 0, 1] < steps[0, 4, 4] < steps[0, 15, 15] < steps[1, 15, 15]


@TUNES
def test_a_gradient_by_coefficients_is_that_by_what_they_make(tune):
    random = np.random.default_rng(0)
    weights, moved = random.normal(size=(32, 48, 3)), random.normal(size=(3, 2, 3, 16, 16))
    by_pixels = (weights * detail.invert(moved, tune)).sum()
    assert (detail.gradient(weights, tune) * moved).sum() == pytest.approx(by_pixels, rel=1e-4, abs=1e-3)


@TUNES
def test_finer_steps_take_more_bytes_for_smaller_errors(tune):
    stripe, sizes, errors = lacking(4, 5, 3, 4), [], []
    for step in (32, 16, 8, 4, 2, 1):
        content = detail.encode([stripe], step, tune)
        (back,) = detail.decode(content, [stripe.shape], step, tune)
        sizes.append(len(content))
        errors.append(np.square(back - stripe).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
    assert tune is EYE or 1 / 12 < errors[-1] < 1 / 6


@TUNES
def test_nothing_lacking_takes_next_to_nothing(tune):
    assert len(detail.encode([np.zeros((320, 320, 3), np.int16)], 8, tune)) < 320 * 320 / 100


@TUNES
@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1, detail.LARGEST + 1, -detail.LARGEST - 1])
def test_coefficients_that_no_picture_has_are_damage(value, tune):
    known = detail._Known(1, 1, 1)
    writer = entropy.Writer(detail._bank(tune.decay))
    for channel, (us, vs) in known.order():
        integers = np.full(len(us), value if len(us) == 1 else 0)
        writer.write(integers, known.contexts(channel, us, vs))
    with pytest.raises(PayloadError):
        list(detail.decode(writer.close(), [(16, 16, 1)], 2, tune))


@TUNES
def test_damage_is_an_error_of_ours(tune):
    stripe = lacking(2, 2, 3, 20)
    content = detail.encode([stripe], 2, tune)
    for damaged in b"", b"\x05", content[: len(content) // 2], b"\x01\xff\xff\xff\x7f" + content[1:]:
        with pytest.raises(PayloadError):
            list(detail.decode(damaged, [stripe.shape], 2, tune))
