"""Where the bits go."""

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

import codec
from coding import container, entropy
from coding.modes import MODES
from conftest import ROOT, slope
from engines import shipped
from engines.pair import Decoder, Encoder
from evaluation import heatmap

LENA = os.path.join(ROOT, "resources/test_images/lena.png")


@pytest.mark.parametrize("mode", list(MODES))
def test_the_bits_are_those_of_the_payload(mode):
    """With the shipped models, whose initial probabilities are good ones."""
    encoder = Encoder.load(shipped.path(mode, "encoder"))
    decoder = Decoder.load(shipped.path(mode, "decoder"))
    image = Image.open(LENA).crop((100, 100, 265, 247))
    data = codec.compress(image, encoder)
    bits = heatmap.bits_per_position(data, decoder)
    assert bits.shape == (10, 11) and bits.min() > 0
    assert bits.sum() == pytest.approx(8 * len(container.unpack(data).payload), rel=0.02)


def test_they_go_where_the_detail_is(pair):
    encoder, decoder = pair
    pixels = 128 + np.random.default_rng(1).integers(0, 4, (128, 192, 3), np.uint8)
    pixels[32:80, 112:176] = np.random.default_rng(0).choice([0, 255], (3, 4, 3)).repeat(16, 0).repeat(16, 1)
    quality = None if encoder.config.mode.is_fixed else 5
    bits = heatmap.bits_per_position(
        codec.compress(Image.fromarray(pixels), encoder, quality=quality), decoder
    )
    inside = np.zeros(bits.shape, bool)
    inside[2:5, 7:11] = True
    assert inside.flat[bits.argmax()] and bits[inside].mean() > 1.02 * bits[~inside].mean()


def test_damage_is_refused(pair, photo):
    encoder, decoder = pair
    data = codec.compress(Image.fromarray(photo), encoder)
    with pytest.raises(container.ContainerError):
        heatmap.bits_per_position(data[:-9], decoder)


def test_latents_that_no_encoder_makes_are_refused(variable_pair):
    encoder, decoder = variable_pair
    encoded = container.unpack(codec.compress(slope(16, 16), encoder))
    payload = bytes([encoded.payload[0] + 1]) + encoded.payload[1:]  # one more escape than there are
    with pytest.raises(entropy.PayloadError):
        heatmap.bits_per_position(container.pack(dataclasses.replace(encoded, payload=payload)), decoder)
