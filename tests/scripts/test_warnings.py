"""What the scripts tell of a picture that does not come through whole: one line on stderr for each file."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from calls import call
from PIL import Image

from conftest import ROOT, golden_model

LENA = os.path.join(ROOT, "resources", "test_images", "lena.png")
CASES = os.path.join(ROOT, "tests", "cases")
ENCODER, DECODER = (f"--{kind}_path={golden_model('variable', kind)}" for kind in ("encoder", "decoder"))


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    "name, words",
    [
        ("anim.gif", "2 further frames"),
        ("pages.tif", "2 further pages"),
        ("cicp_pq.png", "PQ (CICP 9/16/0/1)"),
        ("noEOI.jpg", "end marker"),
        ("xmp_dpi.jpg", "comment"),
    ],
)
def test_what_is_lost_is_told_in_one_line_that_names_the_file(script, tmp_path, name, words):
    source = os.path.join(CASES, name)
    done = script("encode.py", ENCODER, "--input_path", source, "--output_path", tmp_path / "a", "--quiet")
    (line,) = lines_of(done)
    assert line.startswith(f"encode.py: warning: {source}: ") and words in line
    assert done.stdout == ""


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_tell_it_too(script, tmp_path, jobs):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "anim.png", "xmp_dpi.jpg", "opaque_alpha.png":
        shutil.copy(os.path.join(CASES, name), photos)
    out, summary = tmp_path / "out", tmp_path / "x.csv"
    options = "--quiet", f"--jobs={jobs}", "--summary", summary
    done = script("encode.py", ENCODER, "--input_path", photos, "--output_path", out, *options)
    assert sorted(lines_of(done)) == [
        f"encode.py: warning: {photos / 'anim.png'}: 2 further frames are left out",
        f"encode.py: warning: {photos / 'xmp_dpi.jpg'}: the comment is left out",
    ]
    assert "2 further frames" in summary.read_text()


def test_a_target_that_cannot_be_met_is_told_with_the_reason(script, tmp_path):
    source, options = os.path.join(CASES, "noisy_alpha.png"), ("--target_bpp=1", "--quiet")
    done = script("encode.py", ENCODER, "--input_path", source, "--output_path", tmp_path / "a", *options)
    (line,) = lines_of(done)
    bpp = 8 * os.path.getsize(tmp_path / "a") / 128**2
    assert f"{bpp:.4f} bpp instead of 1" in line and "alpha alone takes 8." in line


def test_a_score_that_cannot_be_met_is_told_with_the_reason(tmp_path):
    """By the quality that comes nearest; one that is met is in the closing line."""
    Image.open(LENA).crop((200, 200, 328, 320)).save(tmp_path / "a.png")
    arguments = f"--input_path={tmp_path / 'a.png'}", f"--output_path={tmp_path / 'a'}"
    done = call("encode.py", *arguments, "--target_ssimulacra2=100")
    (line,) = lines_of(done)
    score = re.search(r"SSIMULACRA2 (\S+), ", done.stdout)[1]
    assert f"SSIMULACRA2 of {score} instead of 100: the quality is the highest there is" in line
    done = call("encode.py", *arguments, "--target_ssimulacra2=60")
    assert lines_of(done) == []
    assert float(re.search(r"SSIMULACRA2 (\S+), ", done.stdout)[1]) == pytest.approx(60, abs=1)


def test_a_truncated_image_is_taken_on_request_alone(script, tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "whole.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "whole.png").read_bytes()[:-1500])
    arguments = "encode.py", ENCODER, "--input_path", cut, "--output_path", tmp_path / "a", "--quiet"
    done = script(*arguments)
    assert done.returncode == 1 and "error: " in done.stderr and not (tmp_path / "a").exists()
    (line,) = lines_of(script(*arguments, "--tolerant"))
    assert str(cut) in line and "what there is" in line and (tmp_path / "a").exists()


@pytest.fixture
def whole(script, tmp_path):
    """A `.encoded` file with all that goes with a picture, and the options that decode it."""
    image = Image.open(os.path.join(CASES, "xmp_dpi.jpg"))
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "a.tif", exif=exif, dpi=(300, 150), tiffinfo={700: image.info["xmp"], 270: "text"})
    made = script(
        "encode.py", ENCODER, "--input_path", tmp_path / "a.tif", "--output_path", tmp_path / "a.encoded"
    )
    assert lines_of(made) == []
    return tmp_path / "a.encoded"


def test_info_names_everything_that_travels(script, whole):
    header = json.loads(script("decode.py", "--info", whole).stdout)
    assert 100 < header["xmp_bytes"] < 304 and header["resolution"] == [300, 150]  # which is deflated
    assert header["exif_bytes"] > 0 and header["alpha_bytes"] > 0


def test_what_an_output_format_does_not_hold_is_told(script, whole, tmp_path):
    done = script("decode.py", DECODER, "--input_path", whole, "--output_path", tmp_path / "a.bmp", "--quiet")
    (line,) = lines_of(done)
    assert line.startswith(
        f"decode.py: warning: {whole}: BMP holds no EXIF, no XMP; BMP holds no transparency"
    )
    assert (
        script("decode.py", DECODER, "--input_path", whole, "--output_path", tmp_path / "b.png").stderr == ""
    )
    jpeg = script("decode.py", DECODER, "--input_path", whole, "--output_path", tmp_path / "a.jpg")
    assert "compresses once more" in jpeg.stdout and "JPEG holds no transparency" in jpeg.stderr
    restored = Image.open(tmp_path / "b.png").info
    assert restored["dpi"] == pytest.approx((300, 150), abs=0.02) and b"xpacket" in restored["xmp"]


@pytest.mark.parametrize("name", ["a.icns", "a.xbm"])
def test_formats_that_hold_no_pictures_are_refused(script, whole, tmp_path, name):
    done = script("decode.py", DECODER, "--input_path", whole, "--output_path", tmp_path / name)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and ".png" in done.stderr
    assert not (tmp_path / name).exists()


def test_strip_leaves_the_colours_alone(script, tmp_path):
    source = os.path.join(CASES, "xmp_dpi.jpg")
    arguments = ENCODER, "--input_path", source, "--output_path", tmp_path / "a.encoded", "--strip", "--quiet"
    assert script("encode.py", *arguments).returncode == 0
    header = json.loads(script("decode.py", "--info", tmp_path / "a.encoded").stdout)
    assert [header[f"{name}_bytes"] for name in ("icc", "exif", "xmp")] == [0, 0, 0]
    assert header["resolution"] is None and header["width"] == 128
    decoded = script(
        "decode.py", DECODER, "--input_path", tmp_path / "a.encoded", "--output_path", tmp_path / "b.png"
    )
    assert lines_of(decoded) == []
    difference = np.asarray(Image.open(source)).mean() - np.asarray(Image.open(tmp_path / "b.png")).mean()
    assert abs(difference) < 5
