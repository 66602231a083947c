"""Image files that are written."""

import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from conftest import ROOT
from pictures import profiles, reading, writing
from pictures.picture import Picture
from pictures.pillow import PictureError


def test_what_is_written_is_read_again_with_what_goes_with_it(photo, tmp_path):
    image = Image.fromarray(photo)
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    writing.write(image, str(tmp_path / "new" / "a.png"))
    read = reading.read(str(tmp_path / "new" / "a.png"))
    assert np.array_equal(np.asarray(read), photo) and read.info["icc_profile"] == image.info["icc_profile"]


@pytest.mark.parametrize("name", ["a", "a.docx"])
def test_unknown_extensions_are_refused_before_the_work(name):
    with pytest.raises(PictureError, match="cannot write"):
        writing.check_writable(name)


def test_a_picture_that_the_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(PictureError, match="cannot hold"):
        writing.write(Image.new("RGB", (20_000, 1)), str(tmp_path / "a.webp"))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def whole(photo):
    """An image with all that goes with it."""
    image, exif = Image.fromarray(photo), Image.Exif()
    exif[0x010E] = "a description"
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    profile = profiles.make(profiles.PRIMARIES[12], None)
    image.info |= {"icc_profile": profile, "exif": exif.tobytes(), "xmp": b"<x/>", "dpi": (300.0, 150.0)}
    return image


@pytest.mark.parametrize("extension", ["png", "tif", "webp", "avif", "jpg", "jp2", "bmp", "ppm", "tga"])
def test_what_is_not_there_again_has_been_told(whole, tmp_path, caplog, extension):
    path = str(tmp_path / f"a.{extension}")
    writing.write(whole, path)
    seen = Picture.from_image(reading.read(path)).metadata
    found = {"ICC profile": seen.icc, "EXIF": seen.exif, "XMP": seen.xmp, "resolution": seen.resolution}
    for name, content in found.items():
        assert (content is None) == (f"no {name}" in caplog.text), name
    assert (seen.alpha is None) == ("no transparency" in caplog.text)
    if seen.xmp:
        assert seen.xmp == b"<x/>"
    if seen.resolution:
        assert seen.resolution == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("extension", ["png", "tif", "webp"])
def test_pixels_are_written_as_they_are(whole, tmp_path, extension):
    path = str(tmp_path / f"a.{extension}")
    writing.write(whole, path)
    assert np.array_equal(np.asarray(reading.read(path)), np.asarray(whole)) and not writing.changes_pixels(
        path
    )


def test_colours_are_those_of_srgb_where_no_profile_is_held(whole, tmp_path):
    opaque = whole.convert("RGB")
    writing.write(opaque, str(tmp_path / "a.ppm"))
    source = ImageCms.ImageCmsProfile(io.BytesIO(whole.info["icc_profile"]))
    shown = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"))
    assert np.array_equal(np.asarray(reading.read(str(tmp_path / "a.ppm"))), np.asarray(shown))


def test_a_gif_of_many_colours_or_partly_transparent_is_told(whole, tmp_path, caplog):
    writing.write(whole.convert("RGB").convert("L"), str(tmp_path / "gray.gif"))
    assert "256 colours" not in caplog.text
    writing.write(whole, str(tmp_path / "a.gif"))
    assert "256 colours, and no partial transparency" in caplog.text


def test_icons_are_whole_or_refused(photo, tmp_path):
    writing.write(Image.fromarray(photo), str(tmp_path / "a.ico"))
    assert np.array_equal(np.asarray(reading.read(str(tmp_path / "a.ico")).convert("RGB")), photo)
    for name, size in ("b.ico", (257, 9)), ("b.icns", (9, 9)):
        with pytest.raises(PictureError, match="icons"):
            writing.write(Image.new("RGB", size), str(tmp_path / name))
        assert not (tmp_path / name).exists()


def test_blocks_that_are_too_long_for_jpeg_are_told(photo, tmp_path, caplog):
    image = Image.fromarray(photo)
    image.info["xmp"] = bytes(70_000)
    writing.write(image, str(tmp_path / "a.jpg"))
    assert "JPEG holds no XMP" in caplog.text and (tmp_path / "a.jpg").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="files have no limit here")
@pytest.mark.parametrize("name", ["a.bmp", "a.jpg", "a.png", "a.ppm", "a.tif"])
def test_a_picture_that_finds_no_room_is_not_there(name, tmp_path):
    """Pillow's own writers take what the system wrote in part for written."""
    code = (
        "import resource, sys; from PIL import Image; from pictures import writing; Image.init(); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); "  # last: Python keeps what it imports
        "writing.write(Image.effect_noise((128, 128), 99).convert('RGB'), sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and "File too large" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_file_does_not_depend_on_a_name_that_is_made_up(photo, tmp_path):
    for folder in "one", "two":
        writing.write(Image.fromarray(photo), str(tmp_path / folder / "photo.sgi"))
    one, two = ((tmp_path / folder / "photo.sgi").read_bytes() for folder in ("one", "two"))
    assert one == two and b"photo" in one
