import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import bitstream
import codec
import entropy
import heatmap
import latent_coder
import model
import picture
import quantize
from conftest import build_pair, plain_pair

REFUSALS = (bitstream.BitstreamError, entropy.PayloadError, picture.PictureError, model.ModelError)


def round_trip(image, pair):
    return codec.decompress(codec.compress(image, pair[0]), pair[1])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 1), (15, 17), (16, 16), (37, 20), (64, 48)])
def test_any_size(pair, photo, size):
    image = Image.fromarray(photo).resize(size)
    assert round_trip(image, pair).size == size


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_any_mode(pair, photo, mode):
    image = Image.fromarray(photo)
    image = (Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257) if mode == "I;16" else
             image.quantize(16) if mode == "P" else image.convert(mode))
    result = round_trip(image, pair)
    assert result.size == image.size
    assert result.mode == {"1": "L", "I;16": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)


def test_what_the_decoder_gets_is_what_the_encoder_gave(classic_pair, photo):
    encoder, decoder = classic_pair
    encoded = bitstream.unpack(codec.compress(Image.fromarray(photo), encoder))
    components = torch.from_numpy(codec.analyse(photo, encoder))[None]
    assert np.array_equal(codec.read_latent(encoded, decoder), codec.quantised(components, encoder)[0])


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
    import struct
    import zlib
    encoder, decoder = soft_pair
    data = codec.compress(Image.new("RGBA", (20, 9), (200, 30, 90, 77)), encoder)
    damaged = [data[:end] for end in range(len(data))]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for changed in damaged:
        with pytest.raises(REFUSALS):
            codec.decompress(changed, decoder)
        # Whoever mends the checksum may get a picture, or one of our errors, but never another.
        body = changed[:-4]
        width, height = struct.unpack_from("<II", body.ljust(16, b"\0"), 8)
        if width * height < 1 << 22:
            try:
                codec.decompress(body + struct.pack("<I", zlib.crc32(body)), decoder)
            except REFUSALS:
                pass


def test_a_small_file_that_claims_a_huge_picture_is_refused_soon(soft_pair):
    encoder, decoder = soft_pair
    encoded = bitstream.unpack(codec.compress(Image.new("RGB", (16, 16)), encoder))
    huge = bitstream.Encoded("soft", 10, 16384, 16384, encoded.model_id, encoded.payload)
    with pytest.raises(entropy.PayloadError):
        codec.decompress(bitstream.pack(huge), decoder)


@pytest.mark.parametrize("sign", [-1, 1])
def test_values_beyond_the_quantiser_are_refused(classic_pair, sign):
    """By the decoder and by the heat map; the outermost value is not."""
    decoder = classic_pair[1]
    config = decoder.config
    for beyond in 0, 1:
        b = sign * (config.limits + beyond).float().view(1, -1, 1, 1)
        payload = latent_coder.encode(decoder.context, codec.bank_of(decoder), torch.zeros(1, 3, 1, 1), b, 0.0)
        data = bitstream.pack(bitstream.Encoded(config.quantize_mode, config.B, 16, 16, decoder.model_id, payload))
        for read in codec.decompress, heatmap.bits_per_position:
            if beyond:
                with pytest.raises(entropy.PayloadError):
                    read(data, decoder)
            else:
                read(data, decoder)


def test_components_far_outside_their_digits_are_clipped(classic_pair):
    encoder, decoder = classic_pair
    config = encoder.config
    y = torch.tensor([-1e4, 1e4, 3e5, -0.4])[:len(config.digits)].view(1, -1, 1, 1)
    latent = codec.quantised(y, encoder)
    assert 0 <= latent.min() and latent.max() == 2**config.B
    components = quantize.to_components(latent, config.digits, config.B)
    assert components.flatten()[:2].tolist() == [-config.limits[0], config.limits[1]]
    assert torch.equal(components, encoder.at_rate(y, torch.zeros(1)).round())
    assert torch.equal(quantize.to_latent(components, config.digits, config.B).int(), latent)


def test_models_of_an_earlier_version_still_code(photo, tmp_path):
    for module, kind in zip(plain_pair(), ("encoder", "decoder")):
        model.save(module, str(tmp_path / f"{kind}.model"))
    pair = [model.load(tmp_path / f"{kind}.model", kind) for kind in ("encoder", "decoder")]
    data = codec.compress(Image.fromarray(photo), pair[0])
    expected = codec.quantised(torch.from_numpy(codec.analyse(photo, pair[0]))[None], pair[0])[0].numpy()
    assert np.array_equal(codec.read_latent(bitstream.unpack(data), pair[1]), expected) and expected.std() > 0
    assert codec.decompress(data, pair[1]).size == (56, 40)
    assert heatmap.bits_per_position(data, pair[1]).shape == (3, 4)


def test_another_number_of_bits_than_the_decoders_is_refused(soft_pair):
    encoded = bitstream.unpack(codec.compress(Image.new("RGB", (16, 16)), soft_pair[0]))
    data = bitstream.pack(dataclasses.replace(encoded, B=12))
    with pytest.raises(bitstream.BitstreamError, match="its B"):
        codec.decompress(data, soft_pair[1])


@pytest.mark.parametrize("quality", [0.9, 10.5])
def test_qualities_that_no_file_can_have_are_refused(photo, quality):
    with pytest.raises(ValueError, match="from 1 to 10"):
        codec.compress(Image.fromarray(photo), build_pair("variable")[0], quality=quality)


def test_another_model_is_named(soft_pair, photo):
    data = codec.compress(Image.fromarray(photo), soft_pair[0])
    other = build_pair("soft", seed=1)[1]
    with pytest.raises(model.ModelError, match=other.model_id.hex()):
        codec.decompress(data, other)


def test_tiles_give_the_result_of_the_whole_picture():
    """With the real widths, random weights of the size that training gives, and small tiles."""
    torch.manual_seed(0)
    config = model.ModelConfig("soft", 10)
    encoder, decoder = model.Encoder(config).eval(), model.Decoder(config).eval()
    for module in (*encoder.modules(), *decoder.modules()):
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    rgb = np.random.default_rng(0).integers(0, 256, (208, 400, 3), np.uint8)
    whole, tiled = (codec.quantised(torch.from_numpy(codec.analyse(rgb, encoder, tile=tile))[None], encoder)[0].numpy()
                    for tile in (100, 4))
    assert np.abs(whole.astype(int) - tiled).max() <= 1 and (whole != tiled).mean() < 0.01
    whole, tiled = (codec.synthesise(whole, decoder, tile=tile) for tile in (100, 4))
    assert np.abs(whole.astype(int) - tiled).max() <= 1 and (whole != tiled).mean() < 0.01
