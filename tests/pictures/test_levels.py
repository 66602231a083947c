"""Gray of more than 8 bits."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from pngs import png

from pictures import levels, reading
from pictures.picture import Picture, to_image
from pictures.pillow import PictureError

RAMP = np.linspace(0, 1, 48).reshape(6, 8)
EXPECTED = np.rint(RAMP * 255)


def tiff(values, **tags):
    """The image of a TIFF file of values, with tags named by their number."""
    file, info = io.BytesIO(), ImageFileDirectory_v2()
    for name, value in tags.items():
        info[int(name[1:])] = value
    Image.fromarray(values).save(file, "TIFF", tiffinfo=info)
    return reading.read("a.tif", file)


def near(image, tolerance=1):
    assert image.mode == "L"
    return np.abs(np.asarray(image) - EXPECTED).max() <= tolerance


@pytest.mark.parametrize(
    "values",
    [
        RAMP.astype(np.float32),
        (RAMP * 255).astype(np.float32),
        (RAMP * 255).astype(np.int32),
        (RAMP * 65535).astype(np.int32),
        (RAMP * (2**31 - 1)).astype(np.int32),
        (RAMP * 65535).astype(np.uint16),
    ],
    ids=["0 to 1", "0 to 255", "32 bits to 255", "32 bits to 65535", "31 bits", "16 bits"],
)
def test_the_range_says_what_is_white(values):
    assert near(levels.to_8_bit(tiff(values)))


@pytest.mark.parametrize("tags", [{"_340": -10.0, "_341": 30.0}, {"_280": -10, "_281": 30}])
def test_tags_say_what_is_white(tags):
    if "_280" in tags:
        values = (RAMP * 30).astype(np.float32)
        assert near(levels.to_8_bit(tiff(values, _281=30)))
    else:
        assert near(levels.to_8_bit(tiff((RAMP * 40 - 10).astype(np.float32), **tags)))


@pytest.mark.parametrize(
    "values",
    [RAMP * 5, RAMP * 4000, RAMP * 255 - 200, RAMP - 0.9, RAMP * 1e30],
    ids=["5", "4000", "negative", "mostly negative", "1e30"],
)
def test_floats_whose_white_nobody_knows_are_refused(values):
    with pytest.raises(PictureError, match="no tag says"):
        levels.to_8_bit(tiff(values.astype(np.float32)))


@pytest.mark.parametrize("largest", [2**20, 2**24, -5])
def test_integers_whose_white_nobody_knows_are_refused(largest):
    with pytest.raises(PictureError, match="no tag says"):
        levels.to_8_bit(tiff((RAMP * largest).astype(np.int32)))


def test_unsigned_integers_are_not_negative():
    file = io.BytesIO()
    values = (RAMP * (2**32 - 1)).astype(np.uint32)
    Image.fromarray(values.view(np.int32)).save(file, "TIFF", tiffinfo={339: 1})
    content = file.getvalue()
    image = Image.open(io.BytesIO(content))
    if image.tag_v2[339] != (1,):  # a writer of Pillow that says what it was given
        entry = content.index(b"\x53\x01\x03\x00\x01\x00\x00\x00\x02")
        content = content[: entry + 8] + b"\x01" + content[entry + 9 :]
    assert near(levels.to_8_bit(reading.read("a.tif", io.BytesIO(content))))


def test_white_is_zero_where_the_file_says_so():
    inverted = tiff((65535 - RAMP * 65535).astype(np.uint16), _262=0)
    assert near(levels.to_8_bit(inverted))


def test_values_that_are_no_numbers_or_out_of_range_are_told(caplog):
    values = RAMP.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    values[1, :2] = 1.2, -0.1
    result = np.asarray(levels.to_8_bit(tiff(values)))
    assert list(result[0, :3]) == [0, 255, 0] and list(result[1, :2]) == [255, 0]
    assert "3 values are infinite" in caplog.text and "become black and white" in caplog.text
    assert np.abs(result[2:] - EXPECTED[2:]).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_gray_level_has_the_depth_of_the_file(bits):
    samples = np.arange(32).reshape(4, 8, 1) % 2**bits
    key = 1
    file = io.BytesIO(png(samples, bits, (b"tRNS", key.to_bytes(2, "big"))))
    seen = Picture.from_image(reading.read("a.png", file))
    alpha = np.asarray(to_image(np.zeros((4, 8, 3), np.uint8), seen.metadata))[:, :, 1]
    assert np.array_equal(alpha == 0, samples[:, :, 0] == key) and seen.metadata.one_channel
