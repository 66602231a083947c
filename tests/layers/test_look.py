"""The quick look that tells drawings from photographs."""

import os

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from conftest import ROOT, picture_of, slope
from layers import drawn
from pictures.picture import Picture


def text(size=(160, 96), colour="black"):
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).multiline_text(
        (4, 4), "The quick brown fox\njumps\n" * 3, colour, ImageFont.load_default(14)
    )
    return image


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


def checks():
    return Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255)


@pytest.mark.parametrize("image", [text(), text(colour=(200, 30, 90)), text((16, 16)), checks()])
def test_text_and_patterns_are_no_photographs(image):
    assert not drawn.look(Picture.from_image(image)).is_photograph


@pytest.mark.parametrize("name", ["lena", "peppers", "baboon"])
def test_photographs_are(name):
    image = Image.open(os.path.join(ROOT, "resources", "test_images", f"{name}.png"))
    assert drawn.look(Picture.from_image(image)).is_photograph


def test_so_are_smooth_and_noisy_pictures(photo):
    for rgb in photo, np.asarray(slope(64, 50)), np.asarray(noise()):
        assert drawn.look(picture_of(rgb)).is_photograph


def test_flat_pictures_are_looked_at():
    assert not drawn.look(picture_of(np.full((64, 64, 3), 50, np.uint8))).is_photograph


def test_detail_is_the_error_without_the_finest_diagonals():
    detail = drawn.look(picture_of(np.asarray(noise()))).detail
    assert detail.shape == (4, 4) and detail.mean() == pytest.approx(256**2 / 12 / 4, rel=0.05)
    smooth = np.repeat(np.arange(64, dtype=np.uint8)[:, None, None], 64, 1).repeat(3, 2)
    assert not drawn.look(picture_of(smooth)).detail.any()


def test_bands_make_no_difference(monkeypatch):
    picture = Picture.from_image(text((80, 200)))
    whole = drawn.look(picture)
    monkeypatch.setattr(drawn, "BAND", 13)
    assert np.array_equal(drawn.look(picture).detail, whole.detail)
