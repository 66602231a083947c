"""Small pictures that transforms cannot keep, with the shipped model: see tests/cases/README.md."""

import io
import os

import numpy as np
import pytest
from PIL import Image

import codec
from conftest import ROOT, psnr
from engines import shipped
from engines.pair import Encoder


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load(shipped.path("variable", "encoder"))


def case(name):
    return Image.open(os.path.join(ROOT, "tests", "cases", name))


def restored(image, encoder, quality):
    """What comes back, and the bytes of the file."""
    data = codec.compress(image, encoder, quality=quality)
    return codec.decompress(data, encoder.decoder), len(data)


def lossless_webp(image):
    file = io.BytesIO()
    image.convert("RGB").save(file, "WEBP", lossless=True)
    return file.tell()


@pytest.mark.parametrize("quality", [3, 5, 10])
@pytest.mark.parametrize("name", ["text.png", "ui.png", "bilevel_g4.tif", "checker1px.png"])
def test_drawings_are_exact_in_the_bytes_of_a_lossless_file(name, quality, encoder):
    image = case(name)
    result, size = restored(image, encoder, quality)
    assert np.array_equal(np.asarray(result.convert("RGB")), np.asarray(image.convert("RGB")))
    assert size <= 1.05 * lossless_webp(image) + 100


def test_noise_has_no_ceiling(encoder):
    image = case("noise.png")
    levels = [psnr(restored(image, encoder, quality)[0], image) for quality in (1, 3, 10)]
    assert levels[0] < levels[1] < 44 <= levels[2]


def test_flat_stays_flat(encoder):
    image = case("flat_red.png")
    result, _ = restored(image, encoder, 5)
    difference = np.asarray(result.convert("RGB")).astype(int) - np.asarray(image.convert("RGB"))
    assert np.abs(difference).max() < 3
