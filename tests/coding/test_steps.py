"""Quantization steps of components, which a tune has: on their grid, in files, and in training."""

import dataclasses
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from coding import container, entropy_model, latents, tiles
from coding.container import ContainerError, Encoded, Metadata
from coding.latents import LARGEST, LARGEST_DEAD_ZONE, LatentCoder, Latents
from coding.modes import MODES, Setting
from coding.walk import Walk
from conftest import build_files, build_pair, joined, slope, tuned
from engines.model_file import ModelError, ModelFile
from networks import walk
from networks.entropy_model import network_of

VARIABLE = MODES["variable"]
RATES = [Setting(VARIABLE, number, "eye").t for number in VARIABLE.without_detail("eye")]


@pytest.fixture(scope="module")
def coder():
    return build_pair("variable")[0].coder.tuned("eye")


def random_latents(coder, rows, columns, size, seed=0):
    random = np.random.default_rng(seed)
    shapes = (rows, columns, sum(coder.entropy_model.slices)), (-(-rows // 4), -(-columns // 4), 3)
    return Latents(*(random.uniform(-size, size, shape).astype(np.float32) for shape in shapes))


def test_steps_are_quarters_of_octaves_and_only_the_first_tune_has_none(coder):
    model = coder.entropy_model
    for t in RATES:
        assert not model.log_steps("psnr", t).any()
        log_steps = model.log_steps("eye", t)
        assert np.array_equal(4 * log_steps, np.rint(4 * log_steps))
        assert np.abs(log_steps).max() <= entropy_model.MOST_LOG_STEP + 1
    assert np.array_equal(model.log_steps("eye", 3), model.log_steps("eye", 2) - 1)


def test_what_a_table_says_is_kept_in_range(coder):
    model, name = coder.entropy_model, entropy_model.LOG_STEP + "eye"
    for value, bound in (8, 1.5), (-8, -1.5):
        weights = model.weights | {name: np.full_like(model.weights[name], value)}
        changed = entropy_model.EntropyModel(model.slices, weights)
        assert set(changed.log_steps("eye", 1.0)) == {bound}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 9),
    t=st.sampled_from(RATES),
    seed=st.integers(0, 9),
    size=st.sampled_from([0, 1, 40, LARGEST]),
)
def test_latents_come_back_within_their_steps(coder, rows, columns, t, seed, size):
    real = random_latents(coder, rows, columns, size, seed)
    payload = coder.encode([real], t)
    quantized = joined(coder.decode(payload, (rows, columns), t))
    steps = 2 ** coder.entropy_model.log_steps("eye", t)
    integers, _ = latents.symbols(coder.entropy_model, coder.kind, real, t, "eye")
    far = np.abs(quantized.y - real.y) > steps * (0.5 + LARGEST_DEAD_ZONE) + 2**-9
    assert far.sum() <= real.y.size + real.z.size - len(integers)
    assert coder.encode([quantized], t) == payload


@pytest.mark.parametrize("t", [0.5, 2.5])
def test_coding_and_training_have_the_same_means_and_scales_at_every_step(coder, t):
    model, shape = coder.entropy_model, (10, 7)
    network = network_of(model, build_files("variable")[0].config)
    random = np.random.default_rng(0)
    z = random.integers(-2, 3, (3, 2, 3)).astype(np.float64)
    exact = Walk(model, z, shape, t, "eye")
    with torch.inference_mode():
        relaxed = walk.Walk(network, torch.from_numpy(tiles.to_input(z)), shape, torch.tensor([t]), "eye")
        for ours, theirs in zip(exact, relaxed, strict=True):
            assert np.array_equal(ours.positions, theirs.positions)
            deviation = ours.delta * 2**ours.log_scale
            assert (np.abs(ours.mean - theirs.mean[0].numpy()) < 0.05 * deviation).all()
            assert np.allclose(ours.log_scale, theirs.log_scale[0], atol=0.05)
            assert np.allclose(ours.delta, theirs.delta[0, 0], rtol=1e-3)
            values = ours.latents(random.integers(-2, 3, ours.mean.shape).astype(np.float64))
            exact.put(ours, values)
            relaxed.put(theirs, torch.from_numpy(values[None]).float())


def test_only_the_tune_of_a_file_decodes_it(coder):
    real = random_latents(coder, 9, 6, size=5)
    payload = coder.encode([real], 0.0)
    other = coder.tuned("psnr")
    assert coder.tuned("eye") is coder
    try:
        decoded = joined(other.decode(payload, (9, 6), 0.0)).y
    except latents.entropy.PayloadError:
        return
    assert not np.array_equal(decoded, joined(coder.decode(payload, (9, 6), 0.0)).y)


def without_table(file):
    """A ModelFile whose entropy model has steps for the first tune alone."""
    old = file.coder
    weights = {name: w for name, w in old.entropy_model.weights.items() if not name.startswith("log_step.")}
    model = entropy_model.EntropyModel(old.entropy_model.slices, weights)
    return dataclasses.replace(file, coder=LatentCoder(model, old.kind, old.bank))


def test_a_decoder_without_steps_refuses_a_file_that_needs_them(tmp_path):
    encoder, decoder = build_pair("variable")
    lacking = dataclasses.replace(decoder, file=without_table(decoder.file))
    data = codec.compress(slope(40, 30), tuned(encoder, "eye"), quality=5)
    with pytest.raises(ModelError, match="lacks the quantization steps of --tune=eye"):
        codec.decompress(data, lacking)
    path = tmp_path / "decoder.model"  # it is a decoder for all else
    lacking.file.save(str(path))
    assert ModelFile.load(str(path), "decoder").coder.entropy_model.tunes == ("psnr",)
    with pytest.raises(ValueError, match="tune"):
        lacking.coder.tuned("eye")


def test_a_table_of_the_wrong_length_and_an_encoder_without_its_table_are_refused(tmp_path):
    encoder, _ = build_files("variable")
    model, name = encoder.coder.entropy_model, entropy_model.LOG_STEP + "eye"
    cut = entropy_model.EntropyModel(model.slices, model.weights | {name: model.weights[name][:, :-1]})
    wrong = dataclasses.replace(encoder, coder=LatentCoder(cut, encoder.coder.kind, encoder.coder.bank))
    untabled = dataclasses.replace(without_table(encoder), tune="eye")
    for number, file in enumerate((wrong, untabled)):
        path = str(tmp_path / f"{number}.model")
        file.save(path)
        with pytest.raises(ModelError, match="not an AutoCompressor model"):
            ModelFile.load(path, "encoder")


@pytest.mark.parametrize("mode, flags", [("hard", 256), ("variable", 512), ("variable", 1 << 15)])
def test_flags_that_a_mode_has_not_are_refused(mode, flags):
    setting = Setting(MODES[mode], MODES[mode].numbers[0])
    body = bytearray(container.pack(Encoded(setting, b"8 bytes.", Metadata(7, 5), b"payload"))[:-4])
    struct.pack_into("<H", body, 7, flags)
    with pytest.raises(ContainerError, match="features"):
        container.unpack(bytes(body) + struct.pack("<I", zlib.crc32(body)))


def test_a_file_says_its_tune():
    encoder, _ = build_pair("variable")
    for tune in "psnr", "eye":
        data = codec.compress(slope(40, 30), tuned(encoder, tune))
        assert container.unpack(data).setting.tune == container.describe(data)["tune"] == tune
