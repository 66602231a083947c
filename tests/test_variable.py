import copy
import dataclasses
import os
import subprocess
import sys
import zlib

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
import metrics
import model
import quantize
import variable
from conftest import ROOT, build_pair


@pytest.fixture(scope="module")
def variable_pair():
    return build_pair("variable")


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 37), columns=st.integers(1, 9), number=st.integers(0, 240), seed=st.integers(0, 9),
       size=st.sampled_from([0, 1, 40, variable.LARGEST]))
def test_any_latents_come_back_as_they_were_coded(variable_pair, rows, columns, number, seed, size):
    encoder, decoder = variable_pair
    random = np.random.default_rng(seed)
    shapes = (1, 3, -(-rows // 4), -(-columns // 4)), (1, 4, rows, columns)
    z, b = (torch.from_numpy(random.uniform(-size, size, shape)).float() for shape in shapes)
    t = bitstream.rate(number)
    bank = codec.bank_of(encoder)
    _, values, canvas = variable.symbols(encoder.context, z, b, t)
    quantised = canvas.latents()
    payload = variable.encode(encoder.context, bank, z, b, t)
    assert torch.equal(variable.decode(decoder.context, bank, payload, rows, columns, t), quantised)
    uncoded = b.numel() + z.numel() - len(values)
    assert ((quantised - b).abs() > 0.5 + quantize.LARGEST_DEAD_ZONE).sum() <= uncoded


def test_training_and_coding_quantise_alike(variable_pair):
    """Also where the scale is so small that nothing is coded, and under the caller's autocast."""
    context = copy.deepcopy(variable_pair[0].context)
    context.spread[0] -= 5
    z, b = torch.randn(1, 3, 3, 2), 2 * torch.randn(1, 4, 10, 7)
    _, values, canvas = variable.symbols(context, z, b, 0.5)
    assert len(values) < b.numel()
    t = torch.tensor([0.5], dtype=torch.float64)
    with torch.inference_mode():
        trained = context.quantise(z.double(), b.double(), t, quantize.round_to_zero)[2]
    assert torch.equal(trained.float(), canvas.latents())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(variable.symbols(context, z, b, 0.5)[2].latents(), canvas.latents())


def test_the_order_of_coding_is_the_formats(variable_pair):
    """Slice by slice and pass by pass, in bands of rows of some 4,096 positions."""
    seen = []

    def read(index, positions, mean, log_scale):
        if len(positions):
            seen.append((index, positions[0].item(), len(positions)))
        return torch.zeros_like(mean)
    variable.walk(variable_pair[0].context, 50, 200, 0.0, read)
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


def test_strips_give_the_symbols_of_the_whole(variable_pair, monkeypatch):
    encoder = variable_pair[0]
    random = np.random.default_rng(0)
    z, b = (torch.from_numpy(random.uniform(-9, 9, shape)).float() for shape in ((1, 3, 11, 3), (1, 4, 41, 10)))
    *whole, canvas = variable.symbols(encoder.context, z, b, 0.5)
    monkeypatch.setattr(variable, "STRIP", 70)
    *strips, same_canvas = variable.symbols(encoder.context, z, b, 0.5)
    assert torch.equal(canvas.latents(), same_canvas.latents()) and sorted(zip(*strips)) == sorted(zip(*whole))


def test_coded_size_is_near_the_ideal_of_the_entropy_model(variable_pair):
    """For latents that are drawn from the very distributions that the model gives."""
    encoder = variable_pair[0]
    random = np.random.default_rng(0)
    drawn = {}

    def read(index, positions, mean, log_scale):
        scale = 2.0 ** log_scale.numpy() / 2**0.5
        drawn[index] = torch.from_numpy(random.laplace(0, scale)).round() * (log_scale >= quantize.LEAST_LOG_SCALE)
        return drawn[index]
    b = variable.walk(encoder.context, 96, 96, 0.0, read).latents()
    t = torch.zeros(1, dtype=torch.float64)
    z = (encoder.context.hyper_parameters(t)[0] + drawn[-1]).transpose(1, 2).unflatten(2, (24, 24))
    bank = variable.fit_bank((1,) * 4, np.zeros(0, int), np.zeros(0, int))
    with torch.inference_mode():
        *bits, _ = encoder.context.quantise(z, b.double(), t, lambda distance, log_scale: distance.round())
        ideal = sum(bits).item()
    assert 8 * len(variable.encode(encoder.context, bank, z, b, 0.0)) == pytest.approx(ideal, rel=0.03)


def test_quality_is_a_rate(variable_pair, photo):
    image = Image.fromarray(photo)
    results = []
    for quality in 1, 4.5, 10:
        data = codec.compress(image, variable_pair[0], quality=quality)
        results.append((len(data), metrics.psnr(codec.decompress(data, variable_pair[1]), image)))
    assert results == sorted(results) and len(set(results)) == 3


def test_target_bpp_is_met(variable_pair):
    rgb = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    image = Image.fromarray(rgb)
    sizes = [len(codec.compress(image, variable_pair[0], quality=q)) for q in (1, 10)]
    for size in sizes[0] // 2, sum(sizes) // 2, 2 * sizes[1]:
        got = len(codec.compress(image, variable_pair[0], target_bpp=8 * size / rgb[:, :, 0].size))
        assert abs(got - min(max(size, sizes[0]), sizes[1])) <= 0.02 * size


def test_a_file_encoded_with_two_threads_decodes_with_one(variable_pair, photo, tmp_path):
    for module, kind in zip(variable_pair, ("encoder", "decoder")):
        model.save(module, str(tmp_path / f"{kind}.model"))
    Image.fromarray(photo).resize((200, 150)).save(tmp_path / "a.png")
    for threads, command in ((2, ["encode.py", "--input_path", tmp_path / "a.png", "--output_path", tmp_path / "a.encoded",
                                  "--encoder_path", tmp_path / "encoder.model", "--quality=6"]),
                             (1, ["decode.py", "--input_path", tmp_path / "a.encoded", "--output_path", tmp_path / "b1.png",
                                  "--decoder_path", tmp_path / "decoder.model"]),
                             (2, ["decode.py", "--input_path", tmp_path / "a.encoded", "--output_path", tmp_path / "b2.png",
                                  "--decoder_path", tmp_path / "decoder.model"])):
        subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True,
                       env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    one, two = (np.asarray(Image.open(tmp_path / f"b{n}.png")).astype(int) for n in (1, 2))
    assert one.shape == (150, 200, 3) and np.abs(one - two).max() <= 1


def test_latents_that_no_encoder_makes_are_refused(variable_pair):
    encoder, decoder = variable_pair
    contexts, values, _ = variable.symbols(encoder.context, torch.zeros(1, 3, 1, 1), torch.zeros(1, 4, 1, 1), 0.0)
    values = np.append(values[:-1].astype(np.int64), 10**12)
    payload = entropy.encode_in_context(values, contexts, codec.bank_of(encoder))
    with pytest.raises(entropy.PayloadError):
        variable.decode(decoder.context, codec.bank_of(decoder), payload, 1, 1, 0.0)


def test_save_and_load_give_the_same_files(variable_pair, photo, tmp_path):
    loaded = []
    for module, kind in zip(variable_pair, ("encoder", "decoder")):
        model.save(module, str(tmp_path / f"{kind}.model"))
        loaded.append(model.load(tmp_path / f"{kind}.model", kind))
    image = Image.fromarray(photo)
    data = codec.compress(image, variable_pair[0])
    assert codec.compress(image, loaded[0]) == data
    assert np.array_equal(codec.decompress(data, loaded[1]), codec.decompress(data, variable_pair[1]))


def test_damage_is_refused_or_gives_a_picture(variable_pair):
    """Every third bit flipped, with a mended checksum; and the payload cut anywhere."""
    encoder, decoder = variable_pair
    encoded = bitstream.unpack(codec.compress(Image.new("RGB", (20, 9), (200, 30, 90)), encoder, quality=8))
    payloads = [encoded.payload[:end] for end in range(len(encoded.payload))]
    for bit in range(0, 8 * len(encoded.payload), 3):
        flipped = bytearray(encoded.payload)
        flipped[bit // 8] ^= 1 << bit % 8
        payloads.append(bytes(flipped))
    refused = 0
    for payload in payloads:
        try:
            codec.decompress(bitstream.pack(dataclasses.replace(encoded, payload=payload)), decoder)
        except entropy.PayloadError:
            refused += 1
    assert refused > len(encoded.payload) // 2


def test_a_small_file_that_claims_a_huge_picture_is_refused_soon(variable_pair):
    encoder, decoder = variable_pair
    encoded = bitstream.unpack(codec.compress(Image.new("RGB", (16, 16)), encoder))
    with pytest.raises(entropy.PayloadError):
        codec.decompress(bitstream.pack(dataclasses.replace(encoded, width=16384, height=16384)), decoder)


@pytest.mark.parametrize("number", [241, 255])
def test_rates_beyond_the_highest_are_refused(number):
    data = bytearray(bitstream.pack(bitstream.Encoded("variable", 240, 16, 16, b"12345678", b"")))
    data[6] = number
    with pytest.raises(bitstream.BitstreamError):
        bitstream.unpack(bytes(data[:-4]) + zlib.crc32(bytes(data[:-4])).to_bytes(4, "little"))
