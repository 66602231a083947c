import contextlib
import dataclasses
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import codec
import model
import quantize
from coding import container, entropy, order, tiles
from coding.errors import UserError
from coding.modes import MODES, Setting
from conftest import (
    ROOT,
    analyse,
    build_pair,
    integers_of,
    joined,
    open_pair,
    pictures,
    psnr,
    slope,
    synthesise,
)
from encoder import rate_control
from engines import export, onnx_engine, shipped, tiled, torch_engine
from engines.model_file import ModelError
from engines.pair import Encoder
from evaluation import heatmap, metrics
from networks.entropy_model import untrained
from pictures.picture import stripped

LENA = os.path.join(ROOT, "resources", "test_images", "lena.png")


def round_trip(image, pair):
    return codec.decompress(codec.compress(image, pair[0]), pair[1])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 1), (15, 17), (16, 16), (37, 20), (64, 48)])
def test_any_size(pair, photo, size):
    image = Image.fromarray(photo).resize(size)
    assert round_trip(image, pair).size == size


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_any_mode(pair, photo, mode):
    image = Image.fromarray(photo)
    image = (
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        if mode == "I;16"
        else image.quantize(16)
        if mode == "P"
        else image.convert(mode)
    )
    if mode in ("LA", "RGBA"):
        image.putalpha(99)
    result = round_trip(image, pair)
    assert result.size == image.size
    assert result.mode == {"1": "L", "I;16": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)


def test_what_the_decoder_gets_is_what_the_encoder_gave(soft_pair, photo):
    """By the owner's formula, b = floor(f * 2^B + 0.5), of latents f in [0, 1]."""
    encoder, decoder = soft_pair
    digits, B = encoder.config.digits, encoder.config.B
    y = torch.from_numpy(tiles.to_input(analyse(photo, encoder).y))
    f = quantize.dequantize(quantize.to_integers(y, digits, B), B)
    encoded = codec.unpack(codec.compress(Image.fromarray(photo), encoder), decoder)
    decoded = joined(codec.decode_latents(encoded, decoder)).y
    assert torch.equal(integers_of(decoded, encoder.config), quantize.quantize(f, B)[0])


def test_a_gray_picture_stored_as_rgb_comes_back_gray(soft_pair, photo):
    image = Image.fromarray(photo).convert("L").convert("RGB")
    result = np.asarray(round_trip(image, soft_pair))
    assert result.shape == (40, 56, 3) and (result == result[:, :, :1]).all()


def test_alpha_icc_and_exif_travel_with_the_picture(soft_pair, photo):
    alpha = np.random.default_rng(0).integers(0, 256, photo.shape[:2], np.uint8)
    image = Image.fromarray(np.dstack([photo, alpha]))
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image.info |= {"icc_profile": b"a profile", "exif": exif.tobytes()}
    result = round_trip(image, soft_pair)
    assert np.array_equal(np.asarray(result)[:, :, 3], alpha)
    assert result.info["icc_profile"] == b"a profile"
    assert b"a description" in result.info["exif"]


def test_every_bit_flip_and_truncation_is_refused_even_with_a_mended_checksum(soft_pair):
    encoder, decoder = soft_pair
    data = codec.compress(slope(20, 9, "RGBA"), encoder)
    damaged = [data[:end] for end in range(len(data))]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for changed in damaged:
        with pytest.raises(UserError):
            codec.decompress(changed, decoder)
        # Whoever mends the checksum may get a picture, or one of our errors, but never another.
        body = changed[:-4]
        width, height = struct.unpack_from("<II", body.ljust(16, b"\0"), 8)
        if width * height < 1 << 22:
            with contextlib.suppress(UserError):
                codec.decompress(body + struct.pack("<I", zlib.crc32(body)), decoder)


@pytest.mark.parametrize("mode", ["soft", "variable"])
def test_a_small_file_that_claims_a_huge_picture_is_refused_soon(mode):
    encoder, decoder = build_pair(mode)
    encoded = container.unpack(codec.compress(slope(16, 16), encoder))
    huge = dataclasses.replace(encoded, metadata=container.Metadata(16384, 16384))
    with pytest.raises(entropy.PayloadError):
        codec.decompress(container.pack(huge), decoder)


def test_damaged_payloads_are_refused_or_give_a_picture(variable_pair):
    """Every third bit flipped, with a mended checksum; and the payload cut anywhere."""
    encoder, decoder = variable_pair
    encoded = container.unpack(codec.compress(slope(20, 9), encoder, quality=8))
    payloads = [encoded.payload[:end] for end in range(len(encoded.payload))]
    for bit in range(0, 8 * len(encoded.payload), 3):
        flipped = bytearray(encoded.payload)
        flipped[bit // 8] ^= 1 << bit % 8
        payloads.append(bytes(flipped))
    refused = 0
    for payload in payloads:
        try:
            codec.decompress(container.pack(dataclasses.replace(encoded, payload=payload)), decoder)
        except entropy.PayloadError:
            refused += 1
    assert refused > len(encoded.payload) // 2


def test_another_mode_than_the_decoders_is_refused(soft_pair):
    encoded = container.unpack(codec.compress(slope(16, 16), soft_pair[0]))
    data = container.pack(dataclasses.replace(encoded, setting=Setting(MODES["hard"], 2)))
    with pytest.raises(container.ContainerError, match="its mode"):
        codec.decompress(data, soft_pair[1])


def test_a_decoder_that_makes_no_numbers_is_refused(soft_pair, photo):
    data = codec.compress(Image.fromarray(photo), soft_pair[0])
    broken = dataclasses.replace(
        soft_pair[1], transform=lambda y, t: [soft_pair[1].transform(y, t)[0] * np.nan]
    )
    with pytest.raises(ModelError):
        codec.decompress(data, broken)


@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e30])
def test_an_encoder_that_makes_no_numbers_is_refused(soft_pair, photo, factor):
    encoder = soft_pair[0]

    def transform(x, t):
        return [np.asarray(array) * np.float32(factor) for array in encoder.transform(x, t)]

    with pytest.raises(ModelError):
        codec.compress(Image.fromarray(photo), dataclasses.replace(encoder, transform=transform))


def test_another_model_is_named(soft_pair, photo):
    data = codec.compress(Image.fromarray(photo), soft_pair[0])
    other = build_pair("soft", seed=1)[1]
    with pytest.raises(ModelError, match=other.id.hex()):
        codec.decompress(data, other)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"quality": 0.9}, "from 1 to 10"),
        ({"quality": 10.5}, "from 1 to 10"),
        ({"target_bpp": 0}, "positive"),
        ({"target_ssimulacra2": 101}, "from 0 to 100"),
        ({"target_ssimulacra2": float("nan")}, "from 0 to 100"),
        ({"quality": 5, "target_bpp": 1}, "contradict"),
        ({"target_bpp": 1, "target_ssimulacra2": 70}, "contradict"),
        ({"target_ssimulacra2": 70, "lossless": True}, "contradict"),
        ({"quality": 5, "lossless": True}, "contradict"),
    ],
)
def test_options_that_cannot_be_met_are_refused(variable_pair, photo, options, message):
    with pytest.raises(ValueError, match=message):
        codec.compress(Image.fromarray(photo), variable_pair[0], **options)


@pytest.mark.parametrize("options", [{"effort": 3}, {"target_ssimulacra2": 0}])
def test_what_needs_the_decoder_is_refused_without(variable_pair, photo, options):
    encoder = dataclasses.replace(variable_pair[0], load_decoder=None)
    with pytest.raises(ModelError, match="decoder"):
        codec.compress(Image.fromarray(photo).resize((128, 128)), encoder, **options)


def test_a_decoder_that_is_not_needed_is_not_loaded(variable_pair, photo):
    def load():
        raise ModelError("of another encoder")

    encoder = dataclasses.replace(variable_pair[0], load_decoder=load)
    codec.compress(Image.fromarray(photo), encoder, quality=4)
    with pytest.raises(ModelError, match="another"):
        codec.compress(Image.fromarray(photo), encoder, quality=10)


def test_what_a_detail_layer_has_too_much_is_damage(variable_pair, photo):
    encoder, decoder = variable_pair
    encoded = container.unpack(codec.compress(Image.fromarray(photo), encoder, quality=10))
    assert encoded.detail[0] < 127  # escapes, each of a byte at least
    count = encoded.detail[0]
    end = 1
    for _ in range(count):
        while encoded.detail[end] & 128:
            end += 1
        end += 1
    more = bytes([count + 1]) + encoded.detail[1:end] + b"\0" + encoded.detail[end:]
    with pytest.raises(entropy.PayloadError):
        codec.decompress(container.pack(dataclasses.replace(encoded, detail=more)), decoder)


def test_lossless_keeps_colours_that_are_hidden(variable_pair, photo):
    image = Image.fromarray(photo)
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda level: max(0, level - 99)))
    encoder, decoder = variable_pair
    exact = codec.decompress(codec.compress(image, encoder, lossless=True), decoder)
    assert np.array_equal(np.asarray(exact), np.asarray(image))
    assert (np.asarray(codec.decompress(codec.compress(image, encoder), decoder))[0, :, :3] != photo[0]).any()


def test_what_is_stripped_keeps_hidden_colours_too(photo):
    image = Image.fromarray(photo)
    image.putalpha(0)
    assert np.array_equal(np.asarray(stripped(image, keep_hidden=True)), np.asarray(image))


def test_effort_needs_pytorch(variable_pair, photo):
    encoder = open_pair(*(half.file for half in variable_pair), engine=onnx_engine)[0]
    with pytest.raises(ValueError, match="torch"):
        codec.compress(Image.fromarray(photo), encoder, effort=3)


@pytest.mark.parametrize("options", [{"quality": 5}, {"target_bpp": 1}, {"target_ssimulacra2": 70}])
def test_a_model_of_one_rate_takes_no_quality(fixed_pair, photo, options):
    with pytest.raises(ValueError, match="one rate"):
        codec.compress(Image.fromarray(photo), fixed_pair[0], **options)


def test_quality_is_a_rate(variable_pair, photo):
    encoder, decoder = variable_pair
    image = Image.fromarray(photo)
    results = []
    for quality in 1, 4.5, 10:
        data = codec.compress(image, encoder, quality=quality)
        results.append((len(data), psnr(codec.decompress(data, decoder), image)))
    assert results == sorted(results) and len(set(results)) == 3
    assert codec.compress(image, encoder) == codec.compress(image, encoder, quality=codec.DEFAULT_QUALITY)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_target_bpp_is_met_with_two_codings_at_most(variable_pair, monkeypatch, mode):
    rgb = np.random.default_rng(0).integers(0, 240, (24, 24, 3)).repeat(16, 0).repeat(16, 1)
    rgb = (rgb + np.random.default_rng(1).integers(0, 16, rgb.shape)).astype(np.uint8)
    image = Image.fromarray(rgb).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.random.default_rng(0).integers(0, 256, rgb.shape[:2], np.uint8)))
    sizes = [len(codec.compress(image, variable_pair[0], quality=quality)) for quality in (1, 8.7)]
    codings = []
    writer = entropy.Writer
    monkeypatch.setattr(entropy, "Writer", lambda *args: codings.append(args) or writer(*args))
    for size in sizes[0] // 2, sum(sizes) // 2:
        codings.clear()
        got = len(codec.compress(image, variable_pair[0], target_bpp=8 * size / rgb[:, :, 0].size))
        assert abs(got - max(size, sizes[0])) <= 0.01 * size and len(codings) <= 2


def test_a_target_beyond_the_finest_rate_takes_a_detail_layer():
    """With the shipped model, whose files grow with the quality."""
    encoder = Encoder.load(shipped.path("variable", "encoder"))
    image = Image.open(LENA).crop((200, 200, 300, 290))
    for quality in 9.3, 10:
        size = len(codec.compress(image, encoder, quality=quality))
        data = codec.compress(image, encoder, target_bpp=8 * size / 100 / 90)
        assert container.unpack(data).detail and len(data) == pytest.approx(size, rel=0.02)


@pytest.fixture(scope="module")
def shipped_encoder():
    return Encoder.load(shipped.path("variable", "encoder"))


@pytest.mark.parametrize("target", [60, 85])
def test_target_ssimulacra2_is_met_with_four_codings_at_most(shipped_encoder, monkeypatch, target):
    image, codings, choose = Image.open(LENA), [], rate_control.choose
    monkeypatch.setattr(rate_control, "choose", lambda *args: codings.append(args) or choose(*args))
    data = codec.compress(image, shipped_encoder, target_ssimulacra2=target)
    score = metrics.ssimulacra2(codec.decompress(data, shipped_encoder.decoder), image)
    assert abs(score - target) <= 1 and 1 <= len(codings) <= 4


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_a_score_is_that_of_the_decoded_colours(shipped_encoder, mode):
    image = Image.open(LENA).crop((200, 200, 320, 314)).convert(mode)
    image.info["dpi"] = 300, 300
    if mode != "L":
        image.putalpha(99)
    data, score = codec.compress_to_score(image, shipped_encoder, 40)
    decoded = codec.decompress(data, shipped_encoder.decoder)
    assert decoded.mode == mode and decoded.info["dpi"] == (300, 300)
    assert score == metrics.ssimulacra2(decoded.convert("RGB"), image.convert("RGB"))


def test_the_search_for_latents_begins_where_the_score_is_met(variable_pair, photo):
    encoder, decoder = variable_pair
    image = Image.fromarray(photo).resize((128, 114))
    plain, _ = codec.compress_to_score(image, encoder, 30)
    data, score = codec.compress_to_score(image, encoder, 30, effort=3)
    assert data != plain and container.unpack(data).setting == container.unpack(plain).setting
    assert score == metrics.ssimulacra2(codec.decompress(data, decoder), image)


@pytest.mark.parametrize("size", [(112, 400), (400, 112), (1, 1)])
def test_a_picture_that_is_too_small_for_a_score_is_refused(variable_pair, size):
    with pytest.raises(UserError, match=f"113 pixels at least, this picture has {size[0]}x{size[1]}"):
        codec.compress(Image.new("RGB", size), variable_pair[0], target_ssimulacra2=50)


@pytest.mark.parametrize("engine", [onnx_engine, torch_engine])
def test_tiles_give_the_result_of_the_whole_picture(large_files, engine):
    encoder, decoder = open_pair(*large_files, engine)
    rgb = np.random.default_rng(0).integers(0, 256, (208, 400, 3), np.uint8)
    whole, tiled = (analyse(rgb, encoder, tile=tile) for tile in (100, 4))
    for name in "y", "z":
        one, other = getattr(whole, name), getattr(tiled, name)
        assert np.allclose(one, other, atol=1e-3 * one.std())
    whole, tiled = (synthesise(whole.y, decoder, tile=tile) for tile in (100, 4))
    assert np.abs(whole.astype(int) - tiled).max() <= 1 and (whole != tiled).mean() < 0.01


@pytest.mark.parametrize("options", [{"quality": 8}, {"target_bpp": 0.5}, {"quality": 8, "effort": 3}])
def test_a_picture_of_many_stripes_has_no_seam(variable_pair, monkeypatch, options):
    """Its pixels are those of all its latents at once, and it says nearly the same as a picture of one."""
    encoder, decoder = variable_pair
    rgb = np.random.default_rng(0).integers(0, 256, (19, 3, 3)).repeat(32, 0).repeat(16, 1)
    rgb = (rgb + np.random.default_rng(1).integers(0, 9, rgb.shape)).clip(0, 255).astype(np.uint8)
    one = codec.compress(Image.fromarray(rgb), encoder, **options)
    monkeypatch.setattr(order, "STRIPE", 64)
    assert len(order.stripes(38, 3)) == 2
    data = codec.compress(Image.fromarray(rgb), encoder, **options)
    assert data != one and len(data) == pytest.approx(len(one), rel=0.1)
    encoded = codec.unpack(data, decoder)
    stripes = list(codec.decode_latents(encoded, decoder))
    assert [len(stripe.y) for stripe in stripes] == [20, 18]
    y, bar = joined(stripes).y, tiles.bar(0, progress=False)
    whole = tiled.synthesise(y, slice(0, 38), encoded.setting.t, decoder, bar)
    assert np.abs(whole.astype(int) - np.asarray(codec.decompress(data, decoder))).max() <= 1
    assert heatmap.bits_per_position(data, decoder).shape == (38, 3)


@pytest.fixture(scope="module")
def large_files():
    """Of the real widths, with random weights of the size that training gives."""
    torch.manual_seed(0)
    config = model.default_config("variable")
    analysis, synthesis = model.AnalysisTransform(config).eval(), model.SynthesisTransform(config).eval()
    for module in (*analysis.modules(), *synthesis.modules()):
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            module.weight.data *= 0.5  # features stay in range through many blocks
    return export.finish(analysis, synthesis, untrained(config), [pictures()[:1]], 0.01)


def test_files_of_one_engine_are_read_by_the_other(light_pair, photo):
    """The same integers come back, and give the same file again; pixels may differ by one."""
    pairs, image = (light_pair, build_pair(light_pair[0].config.quantize_mode)), Image.fromarray(photo)
    for quality in (None,) if light_pair[0].config.mode.is_fixed else (1, 5, 10):
        for encoder, _ in pairs:
            data = codec.compress(image, encoder, quality=quality)
            encoded = codec.unpack(data, light_pair[1])
            light, heavy = (joined(codec.decode_latents(encoded, decoder)) for _, decoder in pairs)
            assert np.array_equal(light.y, heavy.y)
            for coder in (decoder.coder for _, decoder in pairs):
                assert coder.encode([light], encoded.setting.t) == encoded.payload
            one, other = (np.asarray(codec.decompress(data, decoder)).astype(int) for _, decoder in pairs)
            assert np.abs(one - other).max() <= 1
