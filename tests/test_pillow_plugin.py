"""`.encoded` files through Pillow's own open and save."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import autocompressor_pillow
import codec
from conftest import ROOT
from engines import shipped
from engines.pair import Decoder, Encoder
from pictures import profiles

DECODER = Decoder.load(shipped.path("variable", "decoder"))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_what_is_saved_is_opened(photo, tmp_path, mode):
    image = Image.fromarray(photo).convert(mode)
    if mode.endswith("A"):
        image.putalpha(99)
    image.save(tmp_path / "a.encoded", quality=8)
    opened = Image.open(tmp_path / "a.encoded")
    assert (opened.format, opened.size, opened.mode) == (autocompressor_pillow.FORMAT, image.size, mode)
    assert np.abs(np.asarray(opened).astype(int) - np.asarray(image)).mean() < 12
    assert np.array_equal(np.asarray(opened.convert("RGB")), np.asarray(opened.copy().convert("RGB")))


def test_a_saved_file_is_that_of_the_codec(photo):
    image, file = Image.fromarray(photo), io.BytesIO()
    goes_along = {"icc_profile": b"a profile", "xmp": b"<x/>", "dpi": (300.0, 150.0)}
    image.info |= goes_along
    image.save(file, autocompressor_pillow.FORMAT, quantize_mode="soft")
    assert file.getvalue() == codec.compress(image, Encoder.load(shipped.path("soft", "encoder")))
    assert Image.open(io.BytesIO(file.getvalue())).info == goes_along


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"effort": 2}, {"target_bpp": 2}, {"target_ssimulacra2": 50}]
)
def test_options_are_those_of_the_codec(photo, options):
    image, file = Image.fromarray(photo).resize((120, 114)), io.BytesIO()
    image.save(file, autocompressor_pillow.FORMAT, optimize=True, **options)
    engine = "torch" if "effort" in options else "onnx"
    encoder = Encoder.load(shipped.path("variable", "encoder"), engine=engine)
    assert file.getvalue() == codec.compress(image, encoder, **options)


def test_a_file_says_before_its_pixels_what_goes_with_them(photo):
    image, file = Image.fromarray(photo), io.BytesIO()
    image.info["icc_profile"] = profiles.make(profiles.SRGB, None)
    image.save(file, autocompressor_pillow.FORMAT)
    opened = Image.open(file)
    before = dict(opened.info)
    assert before == codec.decompress(file.getvalue(), DECODER).info == image.info
    opened.load()
    assert opened.info == before


def test_a_saved_file_is_made_by_the_encoder_of_the_tune(photo):
    image, made = Image.fromarray(photo), []
    for options in {"tune": "eye"}, {}, {"tune": "psnr"}:
        file = io.BytesIO()
        image.save(file, autocompressor_pillow.FORMAT, **options)
        made.append(file.getvalue())
    assert made[0] == made[1] != made[2]
    assert made[2] == codec.compress(image, Encoder.load(shipped.path("variable", "encoder", "psnr")))


def test_damaged_files_are_errors_of_pillow(photo, tmp_path):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, autocompressor_pillow.FORMAT)
    for data in (
        file.getvalue()[:-9],
        file.getvalue()[:30],
        file.getvalue()[:60] + b"x" + file.getvalue()[61:],
    ):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(data))


def test_a_file_is_closed_when_its_pixels_are_there(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a.encoded")
    opened = Image.open(tmp_path / "a.encoded")
    file = opened.fp
    first = np.asarray(opened)
    assert file.closed and np.array_equal(np.asarray(opened), first)
    with open(tmp_path / "a.encoded", "rb") as ours:
        Image.open(ours).load()
        assert not ours.closed


@pytest.mark.parametrize(
    "options", [{"quantize_mode": "medium"}, {"quality": 11}, {"quantize_mode": "hard", "quality": 3}]
)
def test_options_that_make_no_sense_leave_no_file(photo, tmp_path, options):
    with pytest.raises(ValueError):
        Image.fromarray(photo).save(tmp_path / "a.encoded", **options)
    assert not (tmp_path / "a.encoded").exists()


def test_opening_loads_no_engine(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a.encoded")
    code = "import sys, autocompressor_pillow; from PIL import Image; print(Image.open(sys.argv[1]).size); "
    code += "assert not {'numpy', 'onnxruntime', 'torch'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.encoded"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "(56, 40)\n", done.stderr
    assert os.path.exists(tmp_path / "a.encoded")
