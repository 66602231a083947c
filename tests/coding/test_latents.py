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
from coding import context, entropy, latents, order
from coding.latents import IntegerChoice, IntegerLatents, LatentCoder, Latents
from coding.modes import MODES
from conftest import ROOT, build_pair

RATES = [MODES["variable"].rate(number) for number in MODES["variable"].numbers]


def without_limits(coder):
    """A coder that takes latents of any size, as their digits do not."""
    kind = copy.copy(coder.kind)
    kind.limits = torch.full_like(kind.limits, latents.LARGEST + 1)
    return LatentCoder(coder.entropy_model, kind, coder.bank)


def random_latents(coder, rows, columns, size, seed=0):
    random = np.random.default_rng(seed)
    shapes = (1, sum(coder.entropy_model.slices), rows, columns), (1, 3, -(-rows // 4), -(-columns // 4))
    return Latents(*(torch.from_numpy(random.uniform(-size, size, shape)).float() for shape in shapes))


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
    quantized = reader.decode(coder.encode(real, t), (rows, columns), t)
    assert quantized.y.shape == real.y.shape and quantized.z.shape == real.z.shape
    integers, _ = latents.symbols(coder.entropy_model, coder.kind, real, t)
    uncoded = real.y.numel() + real.z.numel() - len(integers)
    for got, given_ in (quantized.y, real.y), (quantized.z, real.z):
        assert ((got - given_).abs() > 0.5 + quantize.LARGEST_DEAD_ZONE).sum() <= uncoded
    if is_integer(coder):
        assert torch.equal(quantized.y, quantized.y.round())
    assert reader.encode(quantized, t) == coder.encode(real, t)


def test_training_and_coding_quantize_alike(pair):
    """Also where the scale is so small that variable mode codes nothing, and under the caller's autocast."""
    coder = without_limits(pair[0].coder)
    model = copy.deepcopy(coder.entropy_model)
    model.spread[0] -= 5
    coder = LatentCoder(model, coder.kind, coder.bank)
    y, z = 2 * torch.randn(1, sum(model.slices), 10, 7), torch.randn(1, 3, 3, 2)
    integers, _ = latents.symbols(model, coder.kind, Latents(y, z), 0.5)
    assert is_integer(coder) or len(integers) < y.numel()
    with torch.inference_mode():
        trained = model.quantize(
            y.double(), z.double(), torch.tensor([0.5], dtype=torch.float64), coder.kind.round
        )[2]
    payload = coder.encode(Latents(y, z), 0.5)
    assert torch.equal(trained.float(), coder.decode(payload, (10, 7), 0.5).y)
    with torch.autocast("cpu", torch.bfloat16):
        assert coder.encode(Latents(y, z), 0.5) == payload


def test_bands_give_the_symbols_of_the_whole(pair, monkeypatch):
    coder = pair[0].coder
    real = random_latents(coder, 41, 10, size=9)
    whole = latents.symbols(coder.entropy_model, coder.kind, real, 0.5)
    monkeypatch.setattr(latents, "BAND", 70)
    bands = latents.symbols(coder.entropy_model, coder.kind, real, 0.5)
    assert not np.array_equal(bands[0], whole[0]) and sorted(zip(*bands)) == sorted(zip(*whole))


def draw(coder, random, shape):
    """Latents whose quantized form is drawn from the very distributions that the entropy model gives at t =
    0."""

    def laplace(mean, log_scale):
        return torch.from_numpy(random.laplace(0, 2.0 ** log_scale.numpy() / 2**0.5)) * (
            log_scale >= quantize.LEAST_LOG_SCALE
        )

    t = torch.zeros(1, dtype=torch.float64)
    hyper_shape = tuple(side // order.HYPER_STRIDE for side in shape)
    mean, log_scale = (
        p.expand(-1, hyper_shape[0] * hyper_shape[1], -1) for p in coder.entropy_model.hyper_parameters(t)
    )
    z = order.from_rows(mean + laplace(mean, log_scale).round(), hyper_shape)
    walk = order.Walk(coder.entropy_model, z, shape, t)
    for group in walk:
        distance = coder.kind.round_nearest(laplace(group.mean, group.log_scale), group.mean, group.log_scale)
        walk.put(group, group.mean + distance)
    return Latents(walk.latents(), z)


@torch.inference_mode()
def test_coded_size_is_near_the_ideal_of_the_entropy_model(pair):
    coder = pair[0].coder
    real = draw(coder, np.random.default_rng(0), (96, 96))
    bank = latents.fit_bank(coder.kind, len(coder.entropy_model.slices), np.zeros(0, int), np.zeros(0, int))
    t = torch.zeros(1, dtype=torch.float64)
    *bits, _ = coder.entropy_model.quantize(real.y.double(), real.z, t, coder.kind.round_nearest)
    unfitted = LatentCoder(coder.entropy_model, coder.kind, bank)
    assert 8 * len(unfitted.encode(real, 0.0)) == pytest.approx(sum(bits).item(), rel=0.03)
    assert sum(lengths.sum() for lengths in unfitted.code_lengths(real, 0.0)) == pytest.approx(
        sum(bits).item(), rel=0.03
    )


def test_code_lengths_have_the_place_of_what_they_are_the_bits_of(pair):
    coder = without_limits(pair[0].coder)
    y = torch.zeros(1, sum(coder.entropy_model.slices), 9, 6)
    y[:, :, 7, 2] = 1e3
    bits_y, bits_z = coder.code_lengths(Latents(y, torch.zeros(1, 3, 3, 2)), 0.0)
    assert bits_y.shape == (9, 6) and bits_z.shape == (3, 2) and bits_y.argmax() == 7 * 6 + 2


def test_latents_that_no_encoder_makes_are_refused(pair):
    coder = pair[0].coder
    zero = random_latents(coder, 1, 1, size=0)
    integers, contexts = latents.symbols(coder.entropy_model, coder.kind, zero, 0.0)
    integers = np.append(integers[:-1].astype(np.int64), 10**12)
    with pytest.raises(entropy.PayloadError):
        coder.decode(entropy.encode(integers, contexts, coder.bank), (1, 1), 0.0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_integers_beyond_their_digits_are_refused_and_the_outermost_are_not(fixed_pair, sign):
    coder = fixed_pair[1].coder
    for beyond in 0, 1:
        y = sign * (coder.kind.limits + beyond).float().view(1, -1, 1, 1)
        payload = coder.encode(Latents(y, torch.zeros(1, 3, 1, 1)), 0.0)
        if beyond:
            with pytest.raises(entropy.PayloadError):
                coder.decode(payload, (1, 1), 0.0)
        else:
            assert torch.equal(coder.decode(payload, (1, 1), 0.0).y, y)


def test_latents_far_outside_their_digits_are_clipped_to_integers_of_the_range(fixed_pair):
    """The owner's claim: what is coded in hard and soft mode are integers in [0, 2^B]."""
    encoder = fixed_pair[0]
    digits, B = encoder.config.digits, encoder.config.B
    y = torch.tensor([-1e4, 1e4, 3e5, -0.4])[: len(digits)].view(1, -1, 1, 1)
    coded = encoder.latents_of(y)
    quantized = encoder.coder.decode(encoder.coder.encode(coded, 0.0), (1, 1), 0.0).y
    assert quantized.flatten()[:2].tolist() == [-encoder.coder.kind.limits[0], encoder.coder.kind.limits[1]]
    integers = quantize.to_integers(quantized, digits, B)
    assert torch.equal(integers, integers.round()) and integers.min() >= 0 and integers.max() == 2**B
    assert torch.equal(quantize.from_integers(integers, digits, B), quantized)


def test_a_bank_for_other_latents_is_refused(pair):
    coder = pair[0].coder
    bank = entropy.Bank(coder.bank.lowest[:-1], coder.bank.frequencies[:-1])
    with pytest.raises(ValueError):
        LatentCoder(coder.entropy_model, coder.kind, bank)


def group_of(mean, log_scale, slice=1):
    step = order.Step(0, slice, order.WHOLE[0], ())
    return order.Group(step, torch.arange(mean.shape[1]), mean, torch.full_like(mean, log_scale))


@pytest.mark.parametrize("log_scale", [-5.0, -3.6, -1.1, 0.8, 1.4, 4.0, 7.0])
@pytest.mark.parametrize("above", [0, 1 / 256, 1 / 8, 31 / 256, 1 / 4, 127 / 256, 1 / 2])
def test_an_adaptive_model_of_integers_serves_the_means_it_is_fitted_for(log_scale, above):
    """On either side of an integer, and with integers nearer the mean having the smaller code."""
    kind = build_pair("hard")[0].coder.kind
    mean = torch.tensor([[[5 + above, 6 - above, -5 - above]]], dtype=torch.float64)
    choice = kind.choose(group_of(mean, log_scale))
    assert isinstance(choice, IntegerChoice) and len(set(choice.contexts.tolist())) == 1
    fitted = kind.adaptive_models(slice_count=2)[choice.contexts[0]]
    assert abs(fitted.log_scale - max(log_scale, quantize.LEAST_LOG_SCALE)) <= 0.13
    assert abs(fitted.above - above) <= (1 / 16 if log_scale < 1.3 else 1 / 4)
    for latent in torch.arange(-9.0, 10, dtype=torch.float64):
        integers = choice.integers(latent - mean)
        assert torch.equal(choice.distances(integers) + mean, latent.expand_as(mean))
        assert torch.equal(integers, integers.round())
    nearest, second = (
        choice.integers(torch.tensor([[row]]) - mean).tolist() for row in ([5, 6, -5], [6, 5, -6])
    )
    assert above == 1 / 2 or (nearest == [0, 0, 0] and (above == 0 or second == [1, 1, 1]))


@pytest.mark.parametrize("log_scale", [-5.0, -3.6, 0.8, context.HIGHEST_LOG_SCALE])
def test_an_adaptive_model_of_distances_serves_the_scales_it_is_fitted_for(log_scale):
    kind = build_pair("variable")[0].coder.kind
    choice = kind.choose(group_of(torch.full((1, 2, 1), 0.25, dtype=torch.float64), log_scale))
    assert len(choice.contexts) == (2 if log_scale > quantize.LEAST_LOG_SCALE else 0)
    for number in choice.contexts:
        assert abs(kind.adaptive_models(slice_count=2)[number].log_scale - log_scale) <= 0.13
    distances = choice.distances(torch.tensor([3.0, -1.0], dtype=torch.float64)[: len(choice.contexts)])
    assert distances.flatten().tolist() == ([3, -1] if len(choice.contexts) else [0, 0])


def test_a_file_encoded_with_two_threads_decodes_with_one(pair, photo, tmp_path):
    encoder, decoder = pair
    encoder.save(str(tmp_path / "encoder.model"))
    decoder.save(str(tmp_path / "decoder.model"))
    Image.fromarray(photo).resize((200, 150)).save(tmp_path / "a.png")
    quality = [] if encoder.config.mode.is_fixed else ["--quality=6"]
    encode = [
        "encode.py",
        "--input_path",
        "a.png",
        "--output_path",
        "a.encoded",
        "--encoder_path",
        "encoder.model",
        *quality,
    ]
    decode = ["decode.py", "--input_path", "a.encoded", "--decoder_path", "decoder.model", "--output_path"]
    for threads, (name, *options) in (2, encode), (1, [*decode, "b1.png"]), (2, [*decode, "b2.png"]):
        subprocess.run(
            [sys.executable, os.path.join(ROOT, name), *options],
            cwd=tmp_path,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    one, two = (np.asarray(Image.open(tmp_path / f"b{n}.png")).astype(int) for n in (1, 2))
    assert one.shape == (150, 200, 3) and np.abs(one - two).max() <= 1
