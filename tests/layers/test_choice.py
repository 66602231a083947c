"""Which blocks are kept exactly, and whole files with such blocks."""

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image
from test_look import checks, noise, text

import codec
from coding import container
from coding.container import ContainerError
from coding.modes import HIGHEST_RATE
from conftest import ROOT, psnr
from engines import shipped
from engines.pair import Encoder
from evaluation import heatmap
from layers import choice, exact


@pytest.fixture(scope="module")
def shipped_pair():
    """The models of variable mode, for which a photograph is one."""
    encoder = Encoder.load(shipped.path("variable", "encoder"))
    return encoder, encoder.decoder


@pytest.fixture(scope="module")
def screenshot():
    """A page of text with a photograph in it, 160x192."""
    page = Image.new("RGB", (160, 192), "white")
    page.paste(text(), (0, 0))
    lena = Image.open(os.path.join(ROOT, "resources", "test_images", "lena.png"))
    page.paste(lena.crop((224, 224, 352, 304)), (16, 104))
    return page


def layer_of(data):
    encoded = container.unpack(data)
    return encoded.metadata.layer, encoded.payload


@pytest.mark.parametrize("image", [text(), text().convert("L"), text().convert("1"), checks()])
def test_a_drawing_is_kept_whole_and_has_no_payload(pair, image):
    data = codec.compress(image, pair[0])
    layer, payload = layer_of(data)
    assert payload == b"" and len(data) == len(layer) + 33
    restored = codec.decompress(data, pair[1])
    assert np.array_equal(np.asarray(restored), np.asarray(image.convert(restored.mode)))


def test_text_is_exact_and_a_photograph_beside_it_is_not(shipped_pair, screenshot):
    encoder, decoder = shipped_pair
    data = codec.compress(screenshot, encoder, quality=5)
    layer, payload = layer_of(data)
    assert payload and exact.mask_of(layer, 160, 192)[:5, :9].all()
    restored = codec.decompress(data, decoder)
    assert np.array_equal(np.asarray(restored)[:80, :144], np.asarray(screenshot)[:80, :144])
    assert psnr(restored, screenshot) > 30


def test_a_photograph_pays_nothing(pair, photo, monkeypatch):
    data = codec.compress(Image.fromarray(photo), pair[0])
    monkeypatch.setattr(choice, "choose", lambda picture, t, encoder: np.zeros((3, 4), bool))
    assert layer_of(data)[0] is None and codec.compress(Image.fromarray(photo), pair[0]) == data


def test_noise_is_kept_exactly_once_its_error_costs_more(variable_pair):
    small, large = (codec.compress(noise(), variable_pair[0], quality=quality) for quality in (1, 10))
    assert layer_of(small)[0] is None and layer_of(large)[1] == b""
    assert np.array_equal(np.asarray(codec.decompress(large, variable_pair[1])), np.asarray(noise()))


def test_flat_areas_stay_flat(shipped_pair):
    page = np.full((100, 130, 3), (255, 0, 0), np.uint8)
    page[:, 64:] = 0, 0, 255
    data = codec.compress(Image.fromarray(page), shipped_pair[0], quality=5)
    restored = np.asarray(codec.decompress(data, shipped_pair[1])).astype(int)
    assert np.abs(restored - page).max() <= 3


def test_lossless_keeps_a_photograph(pair, photo):
    data = codec.compress(Image.fromarray(photo), pair[0], lossless=True)
    assert np.array_equal(np.asarray(codec.decompress(data, pair[1])), photo)


def test_without_a_decoder_bits_alone_decide(shipped_pair):
    encoder = dataclasses.replace(shipped_pair[0], load_decoder=None)
    assert layer_of(codec.compress(checks(), encoder))[1] == b""


def test_a_target_counts_the_layer(shipped_pair, screenshot):
    whole = len(codec.compress(screenshot, shipped_pair[0], quality=10))
    for share in 0.9, 0.6:
        target = share * 8 * whole / (160 * 192)
        data = codec.compress(screenshot, shipped_pair[0], target_bpp=target)
        assert layer_of(data)[0] is not None and 8 * len(data) / (160 * 192) == pytest.approx(
            target, rel=0.05
        )
    least = codec.compress(screenshot, shipped_pair[0], target_bpp=0.01)
    assert layer_of(least)[0] is None


def test_a_file_without_payload_needs_a_layer_of_all_blocks(shipped_pair, screenshot):
    encoder, decoder = shipped_pair
    encoded = container.unpack(codec.compress(screenshot, encoder, quality=5))
    with pytest.raises(ContainerError, match="no payload"):
        codec.decompress(container.pack(dataclasses.replace(encoded, payload=b"")), decoder)


def test_the_heat_map_shows_the_layer(shipped_pair, screenshot):
    encoder, decoder = shipped_pair
    data = codec.compress(screenshot, encoder, quality=5)
    bits, layer = heatmap.bits_per_position(data, decoder), layer_of(data)[0]
    assert bits[:5, :9].sum() > 4 * len(layer) and bits.shape == (12, 10)
    drawing = codec.compress(text(), encoder)
    expected = 8 * len(layer_of(drawing)[0])
    assert heatmap.bits_per_position(drawing, decoder).sum() == pytest.approx(expected)


def test_blocks_that_lie_alone_are_left_and_holes_are_closed():
    candidates = np.ones((5, 5), bool)
    mask = candidates.copy()
    mask[2, 2] = False
    assert choice.tidy(mask, candidates).all()
    assert not choice.tidy(~mask, candidates).any()


def test_finer_latents_keep_no_photograph_exactly():
    """Above the highest rate of the networks, in the tune for the eye, errors cost no more than at it."""
    encoder = Encoder.load(shipped.path("variable", "encoder"))
    fur = Image.open(os.path.join(ROOT, "resources", "test_images", "baboon.png")).crop((0, 0, 256, 256))
    encoded = container.unpack(codec.compress(fur, encoder, quality=9.1))
    assert encoded.setting.t > HIGHEST_RATE and encoded.metadata.layer is None
