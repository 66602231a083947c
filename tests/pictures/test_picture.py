import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from coding.container import Metadata
from pictures import picture, pillow, profiles, reading
from pictures.picture import Picture
from pictures.pillow import PictureError


def through(image):
    """An image as coding without loss would give it back."""
    seen = Picture.from_image(image)
    return picture.to_image(np.asarray(seen.colours.convert("RGB")), seen.metadata)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"]
)
def test_every_mode_comes_back_in_8_bits(photo, mode):
    image = Image.fromarray(photo)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.int32) * 257)
    elif mode == "P":
        image = image.quantize(16)
    else:
        image = image.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    assert image.mode == mode
    result = through(image)
    gray = mode in ("1", "L", "LA", "I;16", "I", "F")
    assert result.mode == ("L" if gray else "RGB") + ("A" if mode in ("LA", "RGBA") else "")
    assert result.size == image.size
    if mode in ("I;16", "I"):
        assert np.array_equal(np.asarray(result), np.asarray(Image.fromarray(photo).convert("L")))
    elif mode not in ("LA", "F"):
        assert np.array_equal(np.asarray(result.convert("RGB")), np.asarray(image.convert("RGB")))


def test_alpha_is_returned_exactly(photo):
    alpha = np.random.default_rng(0).integers(0, 256, photo.shape[:2], np.uint8)
    image = Image.fromarray(np.dstack([photo, alpha]))
    assert np.array_equal(np.asarray(through(image))[:, :, 3], alpha)


def test_a_transparent_palette_colour_becomes_alpha(photo):
    image = Image.fromarray(photo).quantize(8)
    image.info["transparency"] = 3
    expected = np.where(np.asarray(image) == 3, 0, 255)
    assert np.array_equal(np.asarray(through(image).getchannel("A")), expected)


def test_exif_orientation_is_applied_and_the_rest_of_exif_kept(photo):
    image = Image.fromarray(photo)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    result = through(Image.open(file))
    assert np.array_equal(np.asarray(result), np.rot90(photo, -1))
    kept = Image.Exif()
    kept.load(result.info["exif"])
    assert kept[0x010E] == "a description" and 0x0112 not in kept


def test_icc_profile_is_kept_but_not_that_of_inks(photo):
    profile = profiles.make(profiles.PRIMARIES[12], None)
    image = Image.fromarray(photo)
    image.info["icc_profile"] = profile
    assert through(image).info["icc_profile"] == profile
    inks = image.convert("CMYK")
    inks.info["icc_profile"] = profile  # not a CMYK profile: unusable, so a plain conversion
    assert "icc_profile" not in through(inks).info


@pytest.mark.parametrize("alpha", [b"", b"\x89PNG\r\n\x1a\n", b"x" * 100])
def test_damaged_alpha_is_an_error_of_ours(photo, alpha):
    with pytest.raises(PictureError):
        picture.to_image(photo, Metadata(56, 40, alpha=alpha))


def test_alpha_of_another_size_is_refused_before_it_is_decoded(photo):
    file = io.BytesIO()
    Image.new("L", (5000, 5000)).save(file, "PNG")
    with pytest.raises(PictureError):
        picture.to_image(photo, Metadata(56, 40, alpha=file.getvalue()))


def test_exif_that_cannot_be_read_is_left_behind_and_told(photo, caplog):
    caplog.set_level("INFO", "pictures")
    for exif in b"Exif\0\0rubbish", b"Exif\0\0MM\0*":
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "PNG", exif=exif)
        read = Picture.from_image(Image.open(file))
        assert read.metadata.exif is None and np.array_equal(read.colours, photo)
    assert caplog.text.count("EXIF data cannot be read") == 2


@pytest.mark.parametrize("exif", [b"rubbish", b"MM\0*"])
def test_damaged_exif_is_an_error_of_ours(photo, exif):
    with pytest.raises(PictureError, match="EXIF"):
        picture.to_image(photo, Metadata(56, 40, exif=exif))


def test_a_transparent_gray_level_of_16_bits_becomes_alpha(tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(values).save(tmp_path / "a.png", transparency=15000)
    result = through(reading.read(tmp_path / "a.png"))
    assert result.mode == "LA"
    assert np.array_equal(np.asarray(result.getchannel("A")), np.where(values == 15000, 0, 255))


def test_the_limit_is_that_of_the_format_and_not_pillows(monkeypatch, photo, tmp_path):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(photo).convert("RGBA").save(tmp_path / "a.png")
    assert through(reading.read(tmp_path / "a.png")).size == (56, 40)
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr(pillow, "MAX_PIXELS", 1000)
    with pytest.raises(PictureError, match="too large"):
        reading.read(tmp_path / "a.png")


def test_a_palette_that_is_missing_is_an_error_of_ours(photo):
    image = Image.fromarray(photo).convert("P")
    image.palette = None  # as readers leave it for some damaged files
    with pytest.raises(PictureError):
        Picture.from_image(image)


def save_and_read(image, format_name, **options):
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return reading.read("a", file)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_xmp_is_found_in_every_format(photo, format_name):
    options, info = {"xmp": b"<x/>"}, PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "<x/>")
    options |= {"PNG": {"pnginfo": info}, "TIFF": {"tiffinfo": {700: b"<x/>"}}}.get(format_name, {})
    image = save_and_read(Image.fromarray(photo), format_name, **options)
    assert Picture.from_image(image).metadata.xmp == b"<x/>"


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_resolution_is_one_that_the_file_gives(photo, format_name):
    image = Image.fromarray(photo)
    said = Picture.from_image(save_and_read(image, format_name, dpi=(300, 150))).metadata.resolution
    assert said == pytest.approx((300, 150), abs=0.02)
    if format_name != "BMP":  # in which Pillow writes 96
        assert Picture.from_image(save_and_read(image, format_name)).metadata.resolution is None


def test_the_resolution_turns_with_the_picture(photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = save_and_read(Image.fromarray(photo), "PNG", exif=exif, dpi=(300, 150))
    assert Picture.from_image(image).metadata.resolution == pytest.approx((150, 300), abs=0.02)


def test_the_tags_of_tiff_that_describe_the_picture_are_kept_alone(photo):
    image = save_and_read(Image.fromarray(photo), "TIFF", tiffinfo={270: "a description", 33432: "somebody"})
    exif = Image.Exif()
    exif.load(Picture.from_image(image).metadata.exif)
    assert dict(exif) == {270: "a description", 33432: "somebody"}
    assert Picture.from_image(save_and_read(Image.fromarray(photo), "TIFF")).metadata.exif is None


@pytest.mark.parametrize("spread, gray", [(1, True), (2, True), (3, False)])
def test_channels_that_differ_by_two_levels_are_gray(spread, gray):
    rgb = np.full((300, 9, 3), 100, np.uint8)
    rgb[290, 3, 1] += spread
    assert Picture.from_image(Image.fromarray(rgb)).metadata.gray == gray


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_opaque_alpha_is_dropped_and_what_is_transparent_is_smooth(photo, mode):
    image = Image.fromarray(photo).convert(mode)
    assert Picture.from_image(image).metadata.alpha is None
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[10:30, 10:30] = 7
    image.putalpha(Image.fromarray(alpha))
    colours = np.asarray(Picture.from_image(image).colours)
    original = np.asarray(image.convert("L" if mode == "LA" else "RGB"))
    assert np.array_equal(colours[alpha > 0], original[alpha > 0])
    assert np.abs(np.diff(colours[:8].astype(int), axis=1)).max() <= 16
