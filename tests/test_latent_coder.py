"""Latents of all modes to bits and back, and the entropy model that tells how."""
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

import bitstream
import codec
import context
import entropy
import latent_coder
import model
import quantize
from conftest import ROOT, build_pair

NO_LIMITS = torch.full((4,), latent_coder.LARGEST + 1)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 37), columns=st.integers(1, 9), number=st.integers(0, 240), seed=st.integers(0, 9),
       size=st.sampled_from([0, 1, 40, latent_coder.LARGEST]))
def test_any_latents_come_back_as_they_were_coded(pair, rows, columns, number, seed, size):
    encoder, decoder = pair
    random = np.random.default_rng(seed)
    shapes = (1, 3, -(-rows // 4), -(-columns // 4)), (1, len(encoder.config.digits), rows, columns)
    z, b = (torch.from_numpy(random.uniform(-size, size, shape)).float() for shape in shapes)
    t = bitstream.rate(number)
    bank = codec.bank_of(encoder)
    _, values, canvas = latent_coder.symbols(encoder.context, z, b, t)
    quantised = canvas.latents()
    payload = latent_coder.encode(encoder.context, bank, z, b, t)
    assert torch.equal(latent_coder.decode(decoder.context, bank, payload, rows, columns, t, NO_LIMITS[:len(encoder.config.digits)]), quantised)
    uncoded = b.numel() + z.numel() - len(values)
    assert ((quantised - b).abs() > 0.5 + quantize.LARGEST_DEAD_ZONE).sum() <= uncoded
    if encoder.context.on_grid:
        assert uncoded == 0 and torch.equal(quantised, b.round())


def test_training_and_coding_quantise_alike(pair):
    """Also where the scale is so small that variable mode codes nothing, and under the caller's autocast."""
    context = copy.deepcopy(pair[0].context)
    context.spread[0] -= 5
    z, b = torch.randn(1, 3, 3, 2), 2 * torch.randn(1, sum(context.slices), 10, 7)
    _, values, canvas = latent_coder.symbols(context, z, b, 0.5)
    assert context.on_grid or len(values) < b.numel()
    t = torch.tensor([0.5], dtype=torch.float64)
    with torch.inference_mode():
        trained = context.quantise(z.double(), b.double(), t, context.rounded)[2]
    assert torch.equal(trained.float(), canvas.latents())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(latent_coder.symbols(context, z, b, 0.5)[2].latents(), canvas.latents())


def test_the_order_of_coding_is_the_formats():
    """Slice by slice and pass by pass, in bands of rows of some 4,096 positions."""
    seen = []

    def read(index, positions, mean, log_scale):
        if len(positions):
            seen.append((index, positions[0].item(), len(positions)))
        return torch.zeros_like(mean)
    latent_coder.walk(build_pair("variable")[0].context, 50, 200, 0.0, read)
    bands = [(0, 20), (20, 20), (40, 10)]
    passes = {0: [(0, 0, 1), (1, 1, 1), (0, 1, 1), (1, 0, 1)], 1: [(0, 0, 2), (0, 1, 2)], 2: [(0, 0, 2), (0, 1, 2)], 3: [(0, 0, 4)]}
    assert seen == [(-1, 0, 13 * 50)] + [(index, 200 * (top + row) + column, share * height * 50)
                                         for index, places in passes.items() for row, column, share in places
                                         for top, height in bands]


def test_a_model_cannot_ask_for_more_slices_than_are_of_use():
    for slices in (1,) * 1024, (1000, 24), (0, 1024), (1, 2):
        with pytest.raises(ValueError):
            model.VariableConfig(digits=(1,) * 1024, slices=slices)


def test_every_position_of_every_channel_has_one_step_and_looks_back_only():
    for slices in 1, 2, 4, 6:
        seen = set()
        for step in context.steps(slices):
            for row, column in step.places:
                for index, offsets in step.sources:
                    assert all((index, (row + dy) % 2, (column + dx) % 2) in seen for dy, dx in offsets)
            new = {(step.slice, *place) for place in step.places}
            assert not new & seen
            seen |= new
        assert len(seen) == 4 * slices


def test_strips_give_the_symbols_of_the_whole(pair, monkeypatch):
    encoder = pair[0]
    random = np.random.default_rng(0)
    z, b = (torch.from_numpy(random.uniform(-9, 9, shape)).float() for shape in ((1, 3, 11, 3), (1, len(encoder.config.digits), 41, 10)))
    *whole, canvas = latent_coder.symbols(encoder.context, z, b, 0.5)
    monkeypatch.setattr(latent_coder, "STRIP", 70)
    *strips, same_canvas = latent_coder.symbols(encoder.context, z, b, 0.5)
    assert torch.equal(canvas.latents(), same_canvas.latents()) and sorted(zip(*strips)) == sorted(zip(*whole))


def test_coded_size_is_near_the_ideal_of_the_entropy_model(pair):
    """For latents that are drawn from the very distributions that the model gives."""
    encoder = pair[0]
    random = np.random.default_rng(0)
    drawn = {}

    def read(index, positions, mean, log_scale):
        scale = 2.0 ** log_scale.numpy() / 2**0.5
        distance = torch.from_numpy(random.laplace(0, scale))
        drawn[index] = encoder.context.rounded(distance, mean, log_scale) if encoder.context.on_grid and index >= 0 else \
            distance.round() * (log_scale >= quantize.LEAST_LOG_SCALE)
        return drawn[index]
    b = latent_coder.walk(encoder.context, 96, 96, 0.0, read).latents()
    t = torch.zeros(1, dtype=torch.float64)
    z = (encoder.context.hyper_parameters(t)[0] + drawn[-1]).transpose(1, 2).unflatten(2, (24, 24))
    bank = latent_coder.fit_bank(encoder.config, np.zeros(0, int), np.zeros(0, int))
    with torch.inference_mode():
        *bits, _ = encoder.context.quantise(z, b.double(), t, lambda distance, mean, log_scale:
                                            encoder.context.rounded(distance, mean, log_scale) if encoder.context.on_grid
                                            else distance.round())
        ideal = sum(bits).item()
    assert 8 * len(latent_coder.encode(encoder.context, bank, z, b, 0.0)) == pytest.approx(ideal, rel=0.03)


def test_latents_that_no_encoder_makes_are_refused(pair):
    encoder, decoder = pair
    contexts, values, _ = latent_coder.symbols(encoder.context, torch.zeros(1, 3, 1, 1), torch.zeros(1, len(encoder.config.digits), 1, 1), 0.0)
    values = np.append(values[:-1].astype(np.int64), 10**12)
    payload = entropy.encode_in_context(values, contexts, codec.bank_of(encoder))
    with pytest.raises(entropy.PayloadError):
        latent_coder.decode(decoder.context, codec.bank_of(decoder), payload, 1, 1, 0.0, decoder.config.limits)


@pytest.mark.parametrize("log_scale", [-5.0, -3.6, -1.1, 0.8, 1.4, 4.0, 7.0])
@pytest.mark.parametrize("above", [0, 1 / 256, 1 / 8, 31 / 256, 1 / 4, 127 / 256, 1 / 2])
def test_a_context_on_the_grid_serves_the_means_it_was_fitted_for(log_scale, above):
    """On either side of an integer, and with integers nearer the mean having the smaller code."""
    model = build_pair("hard")[0].context
    mean = torch.tensor([[[5 + above, 6 - above, -5 - above]]], dtype=torch.float64)
    choice = latent_coder.Choice(model, 1, mean, torch.full_like(mean, log_scale))
    assert len(set(choice.contexts.tolist())) == 1
    level, fitted = latent_coder._level_of(choice.contexts[0].item(), True)
    assert abs(quantize.LEAST_LOG_SCALE + (level + 0.5) / 4 - max(log_scale, quantize.LEAST_LOG_SCALE)) <= 0.13
    assert abs(fitted - above) <= (1 / 16 if log_scale < 1.3 else 1 / 4)
    for latent in torch.arange(-9.0, 10, dtype=torch.float64):
        integers = choice.integers(latent - mean)
        assert torch.equal(choice.distance(integers) + mean, latent.expand_as(mean)) and torch.equal(integers, integers.round())
    nearest, second = (choice.integers(torch.tensor([[[a, b, c]]]) - mean).tolist() for a, b, c in ((5, 6, -5), (6, 5, -6)))
    assert above == 1 / 2 or nearest == [0, 0, 0] and (above == 0 or second == [1, 1, 1])


def test_a_file_encoded_with_two_threads_decodes_with_one(pair, photo, tmp_path):
    quality = ["--quality=6"] if pair[0].config.quantize_mode == "variable" else []
    for module, kind in zip(pair, ("encoder", "decoder")):
        model.save(module, str(tmp_path / f"{kind}.model"))
    Image.fromarray(photo).resize((200, 150)).save(tmp_path / "a.png")
    for threads, command in ((2, ["encode.py", "--input_path", tmp_path / "a.png", "--output_path", tmp_path / "a.encoded",
                                  "--encoder_path", tmp_path / "encoder.model", *quality]),
                             (1, ["decode.py", "--input_path", tmp_path / "a.encoded", "--output_path", tmp_path / "b1.png",
                                  "--decoder_path", tmp_path / "decoder.model"]),
                             (2, ["decode.py", "--input_path", tmp_path / "a.encoded", "--output_path", tmp_path / "b2.png",
                                  "--decoder_path", tmp_path / "decoder.model"])):
        subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True,
                       env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    one, two = (np.asarray(Image.open(tmp_path / f"b{n}.png")).astype(int) for n in (1, 2))
    assert one.shape == (150, 200, 3) and np.abs(one - two).max() <= 1
