"""Depth, gamma and primaries of colours."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from pngs import png

from coding.container import SRGB
from pictures import profiles, reading, tone
from pictures.picture import Picture, stripped, to_image

RANDOM = np.random.default_rng(0)
DEEP = RANDOM.integers(0, 65536, (9, 300, 4))
P3 = profiles.PRIMARIES[12]
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def read(content):
    return reading.read("a.png", io.BytesIO(content))


def gamma(value):
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def primaries(values):
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values))


def in_srgb(rgb, profile):
    """Colours as they are shown: uint8 (H, W, 3)."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    image = ImageCms.profileToProfile(Image.fromarray(rgb), source, ImageCms.createProfile("sRGB"))
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_are_rounded(channels):
    image = read(png(DEEP[:, :, :channels], 16))
    assert np.array_equal(np.asarray(image), np.rint(DEEP[:, :, :channels] / 257))


def test_colours_of_16_bits_in_tiff_are_rounded():
    rgb = DEEP[:, :, :3]
    file = io.BytesIO()
    Image.new("RGB", (600, 9)).save(file, "TIFF")  # as many bytes
    content = bytearray(file.getvalue())
    image = Image.open(io.BytesIO(content))
    at, bits = image.tag_v2[273][0], content.index(struct.pack("<HHI", 258, 3, 3)) + 8
    (bits,) = struct.unpack_from("<I", content, bits)
    struct.pack_into("<3H", content, bits, 16, 16, 16)
    struct.pack_into("<HHIH", content, content.index(struct.pack("<HH", 256, 4)), 256, 4, 1, 300)
    content[at : at + rgb.size * 2] = rgb.astype("<u2").tobytes()
    assert np.array_equal(np.asarray(reading.read("a.tif", io.BytesIO(content))), np.rint(rgb / 257))


def test_colours_of_five_and_six_bits_are_those_of_pillow():
    colours, header = (
        RANDOM.integers(0, 65536, (8, 8)),
        struct.pack("<IiiHHIIiiII", 40, 8, -8, 1, 16, 3, 128, 0, 0, 0, 0),
    )
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    content = (
        b"BM"
        + struct.pack("<IHHI", 54 + 12 + 128, 0, 0, 66)
        + header
        + masks
        + colours.astype("<u2").tobytes()
    )
    image = reading.read("a.bmp", io.BytesIO(content))
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(content))))


def test_a_transparent_colour_of_16_bits_is_that_colour_alone():
    samples = DEEP[:, :, :3].copy()
    samples[0, :2] = [0x1234, 0x5678, 0x9ABC], [0x1235, 0x5678, 0x9ABC]
    image = read(png(samples, 16, (b"tRNS", bytes.fromhex("123456789abc"))))
    alpha = np.asarray(image)[:, :, 3]
    assert alpha[0, 0] == 0 and alpha.ravel()[1:].min() == 255


def test_a_key_that_no_pixel_has_makes_no_alpha():
    image = read(png(np.full((4, 4, 3), 70), 8, (b"tRNS", bytes(6))))
    assert Picture.from_image(image).metadata.alpha is None


@pytest.mark.parametrize("bits, channels", [(8, 1), (8, 3), (8, 4), (16, 1), (16, 2), (16, 3)])
def test_samples_in_proportion_to_light_become_those_of_srgb(bits, channels):
    levels = np.linspace(0, 1, 64)
    samples = np.rint(levels * (2**bits - 1)).astype(int).reshape(4, 16, 1).repeat(channels, 2)
    picture = Picture.from_image(read(png(samples, bits, gamma(1))))
    shown = np.where(levels <= 0.0031308, 12.92 * levels, 1.055 * levels ** (1 / 2.4) - 0.055) * 255
    gray = np.asarray(picture.colours.convert("RGB"))[:, :, 0].ravel()
    seen = (
        samples[:, :, -1].ravel() > 0 if channels in (2, 4) else slice(None)
    )  # what is transparent is filled
    assert np.abs(gray - shown)[seen].max() <= (0.5 if bits == 16 else 13) + 1e-6
    if channels == 4:
        alpha = np.asarray(Image.open(io.BytesIO(picture.metadata.alpha)))
        assert np.array_equal(alpha, samples[:, :, 3])


@pytest.mark.parametrize(
    "chunks", [[gamma(0.45455)], [gamma(1), (b"sRGB", b"\0")], [primaries(profiles.SRGB)]]
)
def test_what_is_srgb_stays_as_it_is(chunks):
    rgb = RANDOM.integers(0, 256, (8, 8, 3))
    picture = Picture.from_image(read(png(rgb, 8, *chunks)))
    assert np.array_equal(np.asarray(picture.colours), rgb) and picture.metadata.icc is None


def test_primaries_become_a_profile_and_the_pixels_stay():
    rgb = RANDOM.integers(0, 256, (8, 8, 3), np.uint8)
    image = read(png(rgb, 8, gamma(1 / 2.2), primaries(P3)))
    before = dict(image.info)
    picture = Picture.from_image(image)
    assert np.array_equal(np.asarray(picture.colours), rgb) and image.info == before
    shown, plain = in_srgb(rgb, picture.metadata.icc), rgb.astype(int)
    assert np.abs(shown - plain).max() > 30  # colours of a wider gamut
    white = np.full((1, 1, 3), 255, np.uint8)
    assert (in_srgb(white, picture.metadata.icc) >= 254).all()


def test_a_profile_of_srgb_s_primaries_changes_nothing():
    rgb = RANDOM.integers(0, 256, (8, 8, 3), np.uint8)
    assert np.abs(in_srgb(rgb, profiles.make(profiles.SRGB, None)) - rgb).max() <= 1


def test_a_profile_of_srgb_needs_no_bytes_and_comes_back_as_one(photo):
    image = Image.fromarray(photo)
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Picture.from_image(image)
    assert picture.metadata.icc == SRGB and np.array_equal(np.asarray(picture.colours), photo)
    result = to_image(photo, picture.metadata)
    assert Picture.from_image(result).metadata.icc == SRGB
    profile = ImageCms.ImageCmsProfile(io.BytesIO(result.info["icc_profile"]))
    assert ImageCms.getProfileDescription(profile).strip() == "sRGB"
    assert np.array_equal(np.asarray(stripped(image)), photo)


@pytest.mark.parametrize(
    "profile", [profiles.make(P3, None), profiles.make(profiles.SRGB, 1 / 2.2), b"no profile", LAB]
)
def test_every_other_profile_is_kept_as_it_is(photo, profile):
    image = Image.fromarray(photo)
    image.info["icc_profile"] = profile
    assert Picture.from_image(image).metadata.icc == profile


@pytest.mark.parametrize(
    "points", [(0,) * 8, (0.3, 0.3) * 4, (0.3127, 0.329, 0.64, 0.33, 0.64, 0.33, 0.15, 0.06)]
)
def test_primaries_that_are_none_make_no_profile(points):
    assert profiles.make(points, 0.5) is None


def test_a_label_of_wide_gamut_becomes_a_profile_and_one_of_hdr_is_told(caplog):
    rgb = RANDOM.integers(0, 256, (8, 8, 3))
    caplog.set_level("INFO", "pictures")
    wide = Picture.from_image(read(png(rgb, 8, (b"cICP", bytes([12, 13, 0, 1])))))
    assert wide.metadata.icc == profiles.make(P3, None) and caplog.text == ""
    srgb = Picture.from_image(read(png(rgb, 8, (b"cICP", bytes([1, 13, 0, 1])))))
    assert srgb.metadata.icc is None and caplog.text == ""
    read(png(rgb, 8, (b"cICP", bytes([9, 18, 0, 1]))))
    assert "HLG (CICP 9/18/0/1)" in caplog.text


def test_labels_of_avif_are_read_too(photo, caplog):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "AVIF")
    caplog.set_level("INFO", "pictures")
    profile_of = {}
    for primaries_and_curve in (1, 13), (12, 13), (9, 16):
        content = bytearray(file.getvalue())
        struct.pack_into(">HH", content, content.index(b"colrnclx") + 8, *primaries_and_curve)
        image = reading.read("a.avif", io.BytesIO(content))
        profile_of[primaries_and_curve] = Picture.from_image(image).metadata.icc
    assert profile_of == {(1, 13): None, (12, 13): profiles.make(P3, None), (9, 16): None}
    assert "PQ (CICP 9/16/" in caplog.text and caplog.text.count("left out") == 1


def test_stripping_shows_the_same_colours_in_srgb(photo):
    image = Image.fromarray(photo)
    profile = profiles.make(P3, None)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info |= {"icc_profile": profile, "exif": exif.tobytes(), "xmp": b"<x/>", "dpi": (300, 300)}
    result = stripped(image)
    assert result.info == {} and result.size == image.size[::-1]
    assert np.abs(np.rot90(np.asarray(result)) - in_srgb(photo, profile)).max() <= 1


def test_a_profile_that_cannot_be_used_is_not_stripped(photo):
    image = Image.fromarray(photo)
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda alpha: alpha // 9))
    image.info |= {"icc_profile": b"no profile", "dpi": (300, 300)}
    assert stripped(image).info == {"icc_profile": b"no profile"} and stripped(image).mode == "RGBA"


def test_the_table_of_gray_rounds():
    assert np.array_equal(tone.table(1 << 16), np.rint(np.arange(1 << 16) / 257))


def test_a_profile_of_lab_goes_with_its_colours(photo):
    image = Image.fromarray(photo)
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    lab.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    found = Picture.from_image(lab)
    assert found.metadata.icc is None
    assert np.abs(np.asarray(found.colours).astype(int) - photo).mean() < 4
