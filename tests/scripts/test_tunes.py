"""Encoders for the eye, as a user asks for them."""

import os

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, distance_for_eye, psnr

BABOON = os.path.join(ROOT, "resources/test_images/baboon.png")
VARIABLE = os.path.join(ROOT, "models/model_variable")


@pytest.fixture(scope="module")
def image():
    return Image.open(BABOON).convert("RGB").crop((128, 0, 384, 256))


def coded(script, image, folder, *options):
    """The bytes of a file of the image, and what decode.py makes of it."""
    paths = [str(folder / name) for name in ("original.png", "file.encoded", "decoded.png")]
    image.save(paths[0])
    for name, source, target, *more in ("encode.py", *paths[:2], *options), ("decode.py", *paths[1:]):
        result = script(name, "--input_path", source, "--output_path", target, *more)
        assert result.returncode == 0, result.stderr
    return os.path.getsize(paths[1]), Image.open(paths[2])


def test_a_file_for_the_eye_is_nearer_for_it_at_the_same_bytes(tmp_path, script, image):
    size, plain = coded(script, image, tmp_path, "--target_bpp=0.6", "--tune=psnr")
    tuned_size, tuned = coded(script, image, tmp_path, "--target_bpp=0.6", "--tune=eye")
    assert tuned_size < 1.03 * size
    assert distance_for_eye(tuned, image) < 0.95 * distance_for_eye(plain, image)
    assert psnr(tuned, image) > psnr(plain, image) - 1


def test_the_eye_is_the_default_and_a_model_says_itself_what_it_was_trained_for(tmp_path, script, image):
    _, plain = coded(script, image, tmp_path)
    for options in ["--tune=eye"], ["--encoder_path", f"{VARIABLE}/encoder_eye.model"]:
        assert np.array_equal(coded(script, image, tmp_path, *options)[1], plain)


@pytest.mark.parametrize(
    "options, line",
    [
        (["--tune=eye", "--encoder_path", f"{VARIABLE}/encoder.model"], "is a model for --tune=psnr"),
        (["--tune=psnr", "--encoder_path", f"{VARIABLE}/encoder_eye.model"], "is a model for --tune=eye"),
    ],
)
def test_a_tune_that_a_model_lacks_is_one_line(tmp_path, script, options, line):
    result = script("encode.py", "--input_path", BABOON, "--output_path", tmp_path / "out", *options)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and line in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--tune=ear"], ["--tune=eye", "--quantize_mode=hard"]])
def test_a_tune_that_does_not_exist_is_wrong_usage(script, options):
    result = script("encode.py", "--input_path=a", "--output_path=b", *options)
    assert result.returncode == 2 and "--tune" in result.stderr
