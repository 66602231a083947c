import dataclasses
import zlib

import numpy as np
import pytest
from PIL import Image

import bitstream
import codec
import entropy
import metrics
import model
from conftest import build_pair


@pytest.fixture(scope="module")
def variable_pair():
    return build_pair("variable")


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
