import numpy as np
import pytest
from arithmetic_compressor import AECompressor
from arithmetic_compressor.models.base_adaptive_model import SimpleAdaptiveModel
from hypothesis import given, settings
from hypothesis import strategies as st

from coding import engine_c, engine_numba, engine_package, entropy
from coding.entropy import Bank, PayloadError

ENGINES = [engine_c, engine_numba, engine_package]


def contexts_of(values):
    """Contexts (C * N,) of integers (C, N): row c is coded by model c."""
    return np.repeat(np.arange(len(values), dtype=np.int16), values.shape[1])


def encode(values, bank, engine=None):
    """The payload of integers (C, N), written in three pieces."""
    writer, contexts = entropy.Writer(bank, engine), contexts_of(np.asarray(values))
    values = np.asarray(values, np.int64).ravel()
    for piece in slice(0, 1), slice(1, len(values) // 2), slice(max(1, len(values) // 2), None):
        writer.write(values[piece], contexts[piece])
    return writer.close()


def decode(payload, bank, count, engine=None):
    reader = entropy.Reader(payload, bank, engine)
    values = reader.read(np.repeat(np.arange(len(bank), dtype=np.int16), count)).reshape(len(bank), count)
    reader.close()
    return values


def fit(values):
    """The bank for integers `values` (C, N)."""
    return Bank.from_weights([(channel.min(), np.bincount(channel - channel.min())) for channel in values])


@st.composite
def banks(draw):
    """Any valid bank: skewed, flat or one-symbol alphabets, at any place on the number line."""
    channels = draw(st.integers(1, 4))
    rows = []
    for _ in range(channels):
        counts = draw(st.lists(st.integers(0, 4096), min_size=2, max_size=draw(st.sampled_from([2, 6, 40]))))
        rows.append(entropy._to_frequencies(np.array(counts) + (sum(counts) == 0)))
    frequencies = np.zeros((channels, max(map(len, rows))), np.int16)
    for row, filled in zip(frequencies, rows):
        row[: len(filled)] = filled
    lowest = draw(st.lists(st.integers(-2000, 2000), min_size=channels, max_size=channels))
    return Bank(np.array(lowest, np.int32), frequencies)


@st.composite
def banks_and_values(draw):
    bank = draw(banks())
    count = draw(st.integers(0, 60))
    inside = st.integers(int(bank.lowest.min()), int((bank.lowest + bank.sizes - 2).max()))
    anything = st.integers(-(2**63), 2**63 - 1)
    common = draw(inside)
    value = st.one_of(st.just(common), inside, anything) if draw(st.booleans()) else st.just(common)
    flat = draw(st.lists(value, min_size=len(bank.lowest) * count, max_size=len(bank.lowest) * count))
    return bank, np.array(flat, np.int64).reshape(len(bank.lowest), count)


@settings(max_examples=200, deadline=None)
@given(banks_and_values())
def test_engines_write_the_same_bytes_and_return_the_input(case):
    bank, values = case
    payloads = [encode(values, bank, engine) for engine in ENGINES]
    assert all(payload == payloads[0] for payload in payloads)
    for engine in ENGINES:
        assert np.array_equal(decode(payloads[0], bank, values.shape[1], engine), values)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((1, 3000)),  # one symbol only
        np.random.default_rng(0).integers(0, 1025, (1, 300)),  # the widest alphabet in use
        np.arange(1025)[None, ::4],  # every symbol new
        np.zeros((1, 0)),
    ],
    ids=["one symbol", "1025 symbols", "never seen", "empty"],
)
def test_extremes_of_the_alphabet_of_soft_mode(values):
    bank = Bank(np.array([0], np.int32), np.full((1, 1026), 3, np.int16))
    payloads = [encode(values, bank, engine) for engine in ENGINES]
    assert all(payload == payloads[0] for payload in payloads)
    for engine in ENGINES:
        assert np.array_equal(decode(payloads[0], bank, values.shape[1], engine), values)


def test_the_code_is_that_of_the_package_used_directly():
    bank = fit(np.array([[0, 1, 1, 2, 4]] * 1))
    symbols = np.random.default_rng(1).integers(0, 6, 400, np.int32)
    bits = AECompressor(
        SimpleAdaptiveModel({s: f / 4096 for s, f in enumerate(bank.frequencies[0].tolist())})
    ).compress(symbols.tolist())
    writer = engine_c.Writer(bank.frequencies)
    writer.write(symbols, np.zeros(400, np.int32))
    code = writer.close()
    ours = np.unpackbits(np.frombuffer(code, np.uint8)).tolist()
    assert ours[: len(bits)] == bits and not any(ours[len(bits) :])


@settings(max_examples=200, deadline=None)
@given(banks(), st.binary(max_size=40), st.integers(0, 200))
def test_any_bytes_decode_alike_or_are_refused_by_all_engines(bank, payload, count):
    results = []
    for engine in ENGINES:
        try:
            results.append(decode(payload, bank, count, engine).tolist())
        except PayloadError:
            results.append(None)
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_truncation_is_refused(engine):
    values = np.random.default_rng(2).integers(-3, 3, (2, 50))
    bank = fit(values)
    payload = encode(values, bank, engine)
    refused = 0
    for end in range(len(payload)):
        try:
            decode(payload[:end], bank, 50, engine)
        except PayloadError:
            refused += 1
    assert refused >= len(payload) - 1  # the last byte may hold nothing but the zeros that are assumed anyway


def test_a_false_number_of_symbols_ends_with_the_payload():
    bank = fit(np.array([[0, 1, 2, 3]] * 8))
    payload = encode(np.zeros((8, 4)), bank)
    with pytest.raises(PayloadError):
        decode(payload, bank, 10_000_000)


def test_fit_sums_to_one_keeps_common_values_and_escapes_rare_ones():
    values = np.concatenate([np.repeat([-2, 0, 1, 3], 50_000), [900]])[None]
    bank = fit(values)
    assert bank.lowest.tolist() == [-2]
    assert bank.sizes.tolist() == [7]  # escape, -2 ... 3
    assert bank.frequencies.sum() == 4096
    assert np.array_equal(decode(encode(values[:, -50:], bank), bank, 50), values[:, -50:])


def test_code_lengths_are_those_of_the_initial_probabilities():
    bank = Bank(np.array([0, -1], np.int32), np.array([[1024, 2048, 1024], [2048, 2048, 0]], np.int16))
    lengths = bank.code_lengths(np.array([0, 1, 7, -1]), np.array([0, 0, 0, 1]))
    assert lengths.tolist() == [1, 2, 2 + entropy.ESCAPE_BITS, 1]


def test_a_fitted_bank_spends_no_more_than_the_entropy_and_two_percent():
    random = np.random.default_rng(3)
    values = np.round(random.normal(0, 4, (8, 4096))).astype(int)
    bits = 8 * len(encode(values, fit(values)))
    entropy_bits = 8 * 4096 * (np.log2(4) + 0.5 * np.log2(2 * np.pi * np.e))
    assert bits < 1.02 * entropy_bits


@pytest.mark.parametrize(
    "lowest, frequencies",
    [
        ([0], [[4096]]),  # a single symbol
        ([0], [[10, 0, 20]]),  # a gap
        ([0], [[4096, 4096]]),  # more than one in all
        ([0], [[-1, 5]]),
        ([0, 1], [[2048, 2048]]),  # a context without a model
    ],
)
def test_what_is_no_bank_is_refused(lowest, frequencies):
    with pytest.raises(ValueError):
        Bank(np.array(lowest, np.int32), np.array(frequencies, np.int16))


def test_a_bank_of_other_numbers_is_refused():
    for lowest, frequencies in (np.int64, np.int16), (np.int32, np.float32):
        with pytest.raises(ValueError):
            Bank(np.zeros(1, lowest), np.full((1, 2), 2048, frequencies))


def test_without_a_place_for_what_it_makes_numba_makes_it_anew():
    engine_numba = pytest.importorskip("coding.engine_numba")
    assert engine_numba._compiled(eval("lambda x: x + 1"))(1) == 2  # of no file, beside which it could lie
