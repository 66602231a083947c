"""Latents of all modes to bits and back."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import quantize
from coding import dealing, entropy, entropy_model, latents, order, scales, tiles
from coding.latents import DealtLatents, IntegerChoice, IntegerLatents, LatentCoder, Latents
from coding.modes import MODES
from coding.walk import Group, Walk
from conftest import ROOT, build_files, integers_of, joined
from networks.entropy_model import network_of

RATES = [MODES["variable"].rate(number) for number in MODES["variable"].undetailed]


def without_limits(coder):
    """A coder that takes latents of any size, as their digits do not."""
    kind = copy.copy(coder.kind)
    kind.limits = np.full_like(kind.limits, latents.LARGEST + 1)
    if isinstance(kind, DealtLatents):
        kind.distance_limits = np.full_like(kind.distance_limits, 4 * latents.LARGEST)
    return LatentCoder(coder.entropy_model, kind, coder.bank)


def random_latents(coder, rows, columns, size, seed=0):
    random = np.random.default_rng(seed)
    shapes = (rows, columns, sum(coder.entropy_model.slices)), (-(-rows // 4), -(-columns // 4), 3)
    return Latents(*(random.uniform(-size, size, shape).astype(np.float32) for shape in shapes))


def is_integer(coder):
    return isinstance(coder.kind, IntegerLatents)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 37),
    columns=st.integers(1, 9),
    t=st.sampled_from(RATES),
    seed=st.integers(0, 9),
    size=st.sampled_from([0, 1, 40, latents.LARGEST]),
)
def test_any_latents_come_back_as_they_were_coded(pair, rows, columns, t, seed, size):
    coder, reader = (without_limits(part.coder) for part in pair)
    real = random_latents(coder, rows, columns, size, seed)
    quantized = joined(reader.decode(coder.encode([real], t), (rows, columns), t))
    assert quantized.y.shape == real.y.shape and quantized.z.shape == real.z.shape
    integers, _ = latents.symbols(coder.entropy_model, coder.kind, real, t)
    uncoded = real.y.size + real.z.size - len(integers)
    for got, given_ in (quantized.y, real.y), (quantized.z, real.z):
        assert (np.abs(got - given_) > 0.5 + latents.LARGEST_DEAD_ZONE).sum() <= uncoded
    if is_integer(coder):
        assert np.array_equal(quantized.y, quantized.y.round())
    assert reader.encode([quantized], t) == coder.encode([real], t)


@pytest.mark.parametrize("lower", [0, 5])
def test_training_and_coding_quantize_nearly_alike(pair, lower, monkeypatch):
    """Training rounds nothing, so that a few latents near a threshold differ. With a lower scale variable
    mode codes nothing of some. In hard mode more are thresholds: of what gets integers, and how many."""
    monkeypatch.setattr(dealing, "ROOM", 1000)
    encoder = pair[0]
    weights = dict(encoder.coder.entropy_model.weights)
    weights["spread"] = weights["spread"] - np.float16([[lower], [0], [0]])
    model = entropy_model.EntropyModel(encoder.config.slices, weights)
    coder = without_limits(LatentCoder(model, encoder.coder.kind, encoder.coder.bank))
    random = np.random.default_rng(0)
    real = Latents(random.normal(0, 2, (10, 7, sum(model.slices))), random.normal(0, 1, (3, 2, 3)))
    y, z = (torch.from_numpy(tiles.to_input(part)) for part in (real.y, real.z))
    latents_ = encoder.config.mode.latents
    policies = quantize.policies({"dealt": "distances"}.get(latents_, latents_), encoder.config.B)
    with torch.inference_mode():
        network = network_of(model, encoder.config)
        trained = network.quantize(y, z, torch.tensor([0.5]), policies.round)[2]
    coded = joined(coder.decode(coder.encode([real], 0.5), (10, 7), 0.5)).y
    difference = np.abs(tiles.from_output(trained.numpy()) - coded)
    assert np.median(difference) < 0.15
    assert (difference > 1.3).mean() <= (1e-3 if isinstance(coder.kind, DealtLatents) else 0)


def test_bands_give_the_symbols_of_the_whole(pair, monkeypatch):
    """Where there are integers for all: each band has its own."""
    monkeypatch.setattr(dealing, "ROOM", 1000)
    coder = pair[0].coder
    real = random_latents(coder, 41, 10, size=9)
    whole = latents.symbols(coder.entropy_model, coder.kind, real, 0.5)
    monkeypatch.setattr(latents, "BAND", 70)
    bands = latents.symbols(coder.entropy_model, coder.kind, real, 0.5)
    assert not np.array_equal(bands[0], whole[0]) and sorted(zip(*bands)) == sorted(zip(*whole))


def draw(coder, random, shape):
    """Latents whose quantized form is drawn from the very distributions that the entropy model gives at t =
    0, and the ideal number of bits for them."""
    bits = []

    def laplace(mean, log_scale):
        distance = np.rint(random.laplace(0, 2.0**log_scale / 2**0.5, mean.shape)) * (
            log_scale >= scales.LEAST_LOG_SCALE
        )
        shares = latents._laplacian(distance, 2.0**log_scale)
        bits.append(-np.log2(shares).sum())
        return distance

    hyper_shape = tuple(side // order.HYPER_STRIDE for side in shape)
    rows = hyper_shape[0] * hyper_shape[1]
    mean, log_scale = (np.tile(p, (rows, 1)) for p in coder.entropy_model.hyper_parameters(0.0))
    z = (mean + laplace(mean, log_scale)).reshape(*hyper_shape, -1)
    walk = Walk(coder.entropy_model, z, shape, 0.0, coder.tune)
    for group in walk:
        distance = laplace(group.mean, group.log_scale)
        walk.put(group, group.latents(distance))
    return Latents(walk.latents(), z), sum(bits)


def test_coded_size_is_near_the_ideal_of_the_entropy_model(variable_pair):
    coder = variable_pair[0].coder
    real, bits = draw(coder, np.random.default_rng(0), (96, 96))
    bank = latents.fit_bank(coder.kind, len(coder.entropy_model.slices), np.zeros(0, int), np.zeros(0, int))
    unfitted = LatentCoder(coder.entropy_model, coder.kind, bank)
    assert 8 * len(unfitted.encode([real], 0.0)) == pytest.approx(bits, rel=0.03)
    assert unfitted.measure(real, 0.0).bits == pytest.approx(bits, rel=0.03)


def test_code_lengths_have_the_place_of_what_they_are_the_bits_of(pair):
    coder = without_limits(pair[0].coder)
    y = np.zeros((9, 6, sum(coder.entropy_model.slices)))
    y[7, 2] = 1e3
    measured = coder.measure(Latents(y, np.zeros((3, 2, 3))), 0.0)
    assert measured.bits_y.shape == (9, 6) and measured.bits_z.shape == (3, 2)
    assert measured.bits_y.argmax() == measured.bits_per_position().argmax() == 7 * 6 + 2


def test_what_is_measured_is_what_is_coded(pair):
    coder = without_limits(pair[0].coder)
    real = random_latents(coder, 9, 6, size=3)
    (decoded,) = coder.decode(coder.encode([real], 0.0), (9, 6), 0.0)
    np.testing.assert_array_equal(coder.measure(real, 0.0).y, decoded.y)


def test_latents_that_no_encoder_makes_are_refused(pair):
    coder = pair[0].coder
    zero = random_latents(coder, 1, 1, size=0)
    integers, contexts = latents.symbols(coder.entropy_model, coder.kind, zero, 0.0)
    writer = entropy.Writer(coder.bank)
    writer.write(np.append(integers[:-1].astype(np.int64), 10**12), contexts)
    with pytest.raises(entropy.PayloadError):
        joined(coder.decode(writer.close(), (1, 1), 0.0))


@pytest.mark.parametrize("sign", [-1, 1])
def test_integers_beyond_their_digits_are_refused_and_the_outermost_are_not(soft_pair, sign):
    coder = soft_pair[1].coder
    for beyond in 0, 1:
        y = sign * (coder.kind.limits + beyond).astype(np.float32).reshape(1, 1, -1)
        payload = coder.encode([Latents(y, np.zeros((1, 1, 3)))], 0.0)
        if beyond:
            with pytest.raises(entropy.PayloadError):
                joined(coder.decode(payload, (1, 1), 0.0))
        else:
            assert np.array_equal(joined(coder.decode(payload, (1, 1), 0.0)).y, y)


def test_latents_far_outside_their_digits_are_clipped_to_integers_of_the_range(soft_pair):
    """The owner's claim: what is coded in soft mode are integers in [0, 2^B]."""
    encoder = soft_pair[0]
    digits, B = encoder.config.digits, encoder.config.B
    y = torch.tensor([-1e4, 1e4, 3e5, -0.4, 99.0, -7.0])[: len(digits)].view(1, -1, 1, 1)
    y = tiles.from_output(encoder.transform.module.clip(y).numpy())
    coded = encoder.coder.encode([Latents(y, np.zeros((1, 1, 3)))], 0.0)
    quantized = joined(encoder.coder.decode(coded, (1, 1), 0.0)).y
    assert quantized.ravel()[:2].tolist() == [-encoder.coder.kind.limits[0], encoder.coder.kind.limits[1]]
    integers = integers_of(quantized, encoder.config)
    assert torch.equal(integers, integers.round()) and integers.min() >= 0 and integers.max() == 2**B
    back = quantize.from_integers(integers[None], digits, B)
    assert np.array_equal(tiles.from_output(back.numpy()), quantized)


def test_a_bank_for_other_latents_is_refused(pair):
    coder = pair[0].coder
    bank = entropy.Bank(coder.bank.lowest[:-1], coder.bank.frequencies[:-1])
    with pytest.raises(ValueError):
        LatentCoder(coder.entropy_model, coder.kind, bank)


def group_of(mean, log_scale, slice=1):
    step = order.Step(0, slice, order.WHOLE[0], ())
    return Group(
        step, range(len(mean)), np.arange(len(mean)), mean, np.full_like(mean, log_scale), np.ones(1)
    )


@pytest.mark.parametrize("log_scale", [-5.0, -3.6, -1.1, 0.8, 1.4, 4.0, 7.0])
@pytest.mark.parametrize("above", [0, 1 / 256, 1 / 8, 31 / 256, 1 / 4, 127 / 256, 1 / 2])
def test_an_adaptive_model_of_integers_serves_the_means_it_is_fitted_for(log_scale, above):
    """On either side of an integer, and with integers nearer the mean having the smaller code."""
    kind = build_files("soft")[0].coder.kind
    mean = np.array([[5 + above, 6 - above, -5 - above]], float)
    choice = kind.choose(group_of(mean, log_scale))
    assert isinstance(choice, IntegerChoice) and len(set(choice.contexts.tolist())) == 1
    fitted = kind.adaptive_models(slice_count=2)[choice.contexts[0]]
    assert abs(fitted.log_scale - max(log_scale, scales.LEAST_LOG_SCALE)) <= 0.13
    assert abs(fitted.above - above) <= (1 / 16 if log_scale < 1.3 else 1 / 4)
    for latent in range(-9, 10):
        integers = choice.integers(latent - mean)
        assert (choice.distances(integers) + mean == latent).all()
        assert np.array_equal(integers, integers.round())
    nearest, second = (choice.integers(np.array([row]) - mean).tolist() for row in ([5, 6, -5], [6, 5, -6]))
    assert above == 1 / 2 or (nearest == [0, 0, 0] and (above == 0 or second == [1, 1, 1]))


@pytest.mark.parametrize("log_scale", [-5.0, -3.6, 0.8, entropy_model.HIGHEST_LOG_SCALE])
def test_an_adaptive_model_of_distances_serves_the_scales_it_is_fitted_for(log_scale):
    kind = build_files("variable")[0].coder.kind
    choice = kind.choose(group_of(np.full((2, 1), 0.25), log_scale))
    assert len(choice.contexts) == (2 if log_scale > scales.LEAST_LOG_SCALE else 0)
    for number in choice.contexts:
        assert abs(kind.adaptive_models(slice_count=2)[number].log_scale - log_scale) <= 0.13
    distances = choice.distances(np.array([3.0, -1.0])[: len(choice.contexts)])
    assert distances.ravel().tolist() == ([3, -1] if len(choice.contexts) else [0, 0])


@pytest.mark.parametrize("mode", MODES)
def test_a_file_encoded_with_two_threads_decodes_with_one(mode, tmp_path):
    """The shipped models, whose products are large enough to be divided among threads."""
    photo = os.path.join(ROOT, "resources", "test_images", "lena.png")
    encode = ["encode.py", f"--input_path={photo}", "--output_path=a.encoded", f"--quantize_mode={mode}"]
    decode = ["decode.py", "--input_path=a.encoded", "--output_path"]
    for threads, (name, *options) in (2, encode), (1, [*decode, "b1.png"]), (2, [*decode, "b2.png"]):
        subprocess.run(
            [sys.executable, os.path.join(ROOT, name), *options],
            cwd=tmp_path,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    one, two = (np.asarray(Image.open(tmp_path / f"b{n}.png")).astype(int) for n in (1, 2))
    assert one.shape == (512, 512, 3) and np.abs(one - two).max() <= 1
