"""What is right for each of the small inputs in tests/cases."""

import os

import numpy as np
import pytest
from PIL import Image

import codec
from conftest import ROOT, build_pair
from pictures import reading
from pictures.picture import Picture, to_image
from training import data

CASES = os.path.join(ROOT, "tests", "cases")


def picture_of(name):
    return Picture.from_image(reading.read(os.path.join(CASES, name)))


def through(name):
    """A case as coding without loss would give it back."""
    seen = picture_of(name)
    return to_image(np.asarray(seen.colours.convert("RGB")), seen.metadata)


def size_of(image, quality=5):
    """Bytes of the file of an image, with the small models."""
    return len(codec.compress(image, build_pair("variable")[0], quality=quality))


@pytest.mark.parametrize("name", ["float01.tif", "float255.tif", "int32_31bit.tif"])
def test_gray_of_any_range_is_visible(name):
    image = through(name)
    assert image.mode == "L" and np.asarray(image).mean() == pytest.approx(149, abs=0.1)


def test_training_sees_the_levels_of_16_bits():
    path = os.path.join(CASES, "gray16.png")
    with open(path, "rb") as file:
        pixels = data.decode(file.read())
    assert pixels.shape == (256, 256, 3) and pixels.mean() == pytest.approx(110.6, abs=0.1)
    assert np.array_equal(pixels[:, :, 0], np.asarray(through("gray16.png")))


def test_a_transparent_colour_is_one_of_the_files_own_depth():
    gray, colour = through("gray4_trns.png"), through("rgb16_trns.png")
    assert (gray.mode, colour.mode) == ("LA", "RGBA")
    levels, alpha = np.asarray(gray).transpose(2, 0, 1)
    assert set(alpha.flat) == {0, 255} and (alpha[levels == 0] == 255).all()
    with Image.open(os.path.join(CASES, "gray4_trns.png")) as file:
        assert np.array_equal(alpha == 0, np.asarray(file) == 255)
    with Image.open(os.path.join(CASES, "rgb16_trns.png")) as file:
        assert np.array_equal(np.asarray(colour)[:, :, 3] == 0, (np.asarray(file) == 128).all(2))


def test_a_gamma_is_applied():
    means = np.asarray(through("gama_linear.png")).mean((0, 1))
    assert np.abs(means - (153, 154, 111)).max() < 0.5


@pytest.mark.parametrize("name", ["anim.gif", "anim.png", "pages.tif"])
def test_of_several_frames_the_first_is_taken(name):
    assert (np.asarray(through(name)) == (255, 0, 0)).all()


def test_xmp_and_resolution_come_back():
    info = through("xmp_dpi.jpg").info
    with Image.open(os.path.join(CASES, "xmp_dpi.jpg")) as file:
        assert info == {"xmp": file.info["xmp"], "dpi": (300, 300)}


def test_colours_that_nobody_sees_cost_next_to_nothing():
    image = reading.read(os.path.join(CASES, "sprite_noise_under_alpha.png"))
    flat = Image.new("RGBA", image.size, "gray")
    flat.paste(image, mask=image.getchannel("A").point(lambda alpha: 255 * (alpha > 0)))
    flat.putalpha(image.getchannel("A"))
    assert size_of(image) < 1.1 * size_of(flat)
    seen, alpha = np.asarray(picture_of("sprite_noise_under_alpha.png").colours), np.asarray(image)[:, :, 3]
    assert np.array_equal(seen[alpha > 0], np.asarray(image)[alpha > 0, :3])


def test_an_opaque_alpha_costs_nothing():
    image = reading.read(os.path.join(CASES, "opaque_alpha.png"))
    assert picture_of("opaque_alpha.png").metadata.alpha is None
    assert size_of(image) == size_of(image.convert("RGB"))


def test_a_jpeg_file_that_lacks_its_end_marker_alone_is_taken(caplog):
    image = through("noEOI.jpg")
    assert image.size == (96, 128) and "end marker" in caplog.text
    last = np.asarray(image)[:, :8]  # rows of the file, which lies on its side
    assert last.std() > 10  # of pixels, not of what fills up


def test_what_is_nearly_gray_gets_no_tint():
    encoder, decoder = build_pair("variable")
    image = reading.read(os.path.join(CASES, "near_gray.png"))
    pixels = np.asarray(codec.decompress(codec.compress(image, encoder, quality=3), decoder))
    assert pixels.shape == (128, 128, 3) and (pixels == pixels[:, :, :1]).all()


def test_a_target_is_met_with_the_alpha_or_missed_with_a_reason():
    encoder = build_pair("variable")[0]
    image = reading.read(os.path.join(CASES, "noisy_alpha.png"))
    least = codec.compress(image, encoder, quality=1)
    assert codec.compress(image, encoder, target_bpp=1) == least
