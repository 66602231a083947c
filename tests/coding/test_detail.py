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


@settings(max_examples=20)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.floats(0, 100),
    st.floats(0.5, 20),
)
def test_differences_come_back_within_the_step(heights, columns, channels, spread, step):
    stripes = [lacking(rows, columns, channels, spread, seed) for seed, rows in enumerate(heights)]
    content = detail.encode(stripes, step)
    restored = list(detail.decode(content, [stripe.shape for stripe in stripes], step))
    for stripe, back in zip(stripes, restored, strict=True):
        assert back.shape == stripe.shape
        error = detail._transform(back - stripe)
        assert np.abs(error).max() <= step * (0.5 + detail.DEAD_ZONE) + 1e-2


def test_finer_steps_take_more_bytes_for_smaller_errors():
    stripe, sizes, errors = lacking(4, 5, 3, 4), [], []
    for step in (32, 16, 8, 4, 2, 1):
        content = detail.encode([stripe], step)
        (back,) = detail.decode(content, [stripe.shape], step)
        sizes.append(len(content))
        errors.append(np.square(back - stripe).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
    assert 1 / 12 < errors[-1] < 1 / 6


def test_nothing_lacking_takes_next_to_nothing():
    assert len(detail.encode([np.zeros((320, 320, 3), np.int16)], 8)) < 320 * 320 / 100


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1, detail.LARGEST + 1, -detail.LARGEST - 1])
def test_coefficients_that_no_picture_has_are_damage(value):
    known = detail._Known(1, 1, 1)
    writer = entropy.Writer(detail._bank())
    for channel, (us, vs) in known.order():
        integers = np.full(len(us), value if len(us) == 1 else 0)
        writer.write(integers, known.contexts(channel, us, vs))
    with pytest.raises(PayloadError):
        list(detail.decode(writer.close(), [(16, 16, 1)], 2))


def test_damage_is_an_error_of_ours():
    stripe = lacking(2, 2, 3, 20)
    content = detail.encode([stripe], 2)
    for damaged in b"", b"\x05", content[: len(content) // 2], b"\x01\xff\xff\xff\x7f" + content[1:]:
        with pytest.raises(PayloadError):
            list(detail.decode(damaged, [stripe.shape], 2))
