"""What is told of files that do not come through whole."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pictures import jpeg, reading
from pictures.picture import Picture


@pytest.fixture(autouse=True)
def told(caplog):
    caplog.set_level("INFO", "pictures")


def save(image, format_name, **options):
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO"])
def test_further_frames_are_counted_and_the_first_is_taken(format_name, caplog):
    first, *others = (Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue"))
    content = save(first, format_name, save_all=True, append_images=others)
    image = reading.read("a", io.BytesIO(content))
    word = {"TIFF": "pages", "MPO": "views"}.get(format_name, "frames")
    assert f"2 further {word} are left out" in caplog.text and "thumbnail" not in caplog.text
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - (255, 0, 0)).max() <= 4


def test_a_damaged_second_frame_is_no_harm(caplog):
    first, second = Image.new("RGB", (32, 32), "red"), Image.effect_noise((32, 32), 99).convert("RGB")
    content = save(first, "TIFF", save_all=True, append_images=[second])
    image = reading.read("a.tif", io.BytesIO(content[: len(content) - 100]))
    assert (np.asarray(image) == (255, 0, 0)).all()


def test_a_picture_without_more_is_told_nothing_of(caplog, photo):
    for format_name in "PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM":
        reading.read("a", io.BytesIO(save(Image.fromarray(photo), format_name, dpi=(72, 72))))
    assert caplog.text == ""


def test_comments_texts_and_gain_maps_are_told(caplog, photo):
    image = Image.fromarray(photo)
    reading.read("a", io.BytesIO(save(image, "JPEG", comment=b"a comment")))
    assert "the comment is left out" in caplog.text
    info = PngInfo()
    info.add_text("Author", "somebody")
    info.add_itxt("XML:com.adobe.xmp", "<x/>")
    reading.read("a", io.BytesIO(save(image, "PNG", pnginfo=info)))
    assert "the text 'Author' is left out" in caplog.text
    reading.read("a", io.BytesIO(save(image, "JPEG", xmp=b'<x hdrgm:Version="1.0"/>')))
    assert "HDR gain map" in caplog.text
    reading.read("a", io.BytesIO(save(image, "JPEG", xmp=b'<x GCamera:MotionPhoto="1"/>')))
    assert "the film of the motion photo is left out" in caplog.text


def test_a_thumbnail_is_told(caplog, photo):
    exif = Image.Exif()
    exif[0x010E] = "a description"
    head = exif.tobytes()
    first = 6 + struct.unpack_from("<I" if head[6:8] == b"II" else ">I", head, 10)[0]  # of the directory
    order = "<" if head[6:8] == b"II" else ">"
    (entries,) = struct.unpack_from(f"{order}H", head, first)
    link = first + 2 + 12 * entries  # to the next directory, here one entry long: the thumbnail's compression
    more = struct.pack(f"{order}HHHIHHI", 1, 0x0103, 3, 1, 6, 0, 0)
    content = head[:link] + struct.pack(f"{order}I", len(head) - 6) + head[link + 4 :] + more
    reading.read("a", io.BytesIO(save(Image.fromarray(photo), "JPEG", exif=head)))
    assert caplog.text == ""
    reading.read("a", io.BytesIO(save(Image.fromarray(photo), "JPEG", exif=content)))
    assert "the thumbnail in the EXIF data is left out" in caplog.text


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
def test_damaged_exif_is_told(caplog, photo, format_name):
    content = save(Image.fromarray(photo), format_name, exif=b"Exif\0\0no tags at all")
    Picture.from_image(reading.read("a", io.BytesIO(content)))
    assert "the EXIF data cannot be read and are left out" in caplog.text


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0}]
)
def test_only_a_jpeg_file_with_all_pixels_is_mended(photo, options):
    whole = save(Image.fromarray(photo), "JPEG", **options)
    mended = jpeg.without_end(whole[:-2])
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(mended))), np.asarray(Image.open(io.BytesIO(whole)))
    )
    for cut in range(6, len(whole), 37):
        assert jpeg.without_end(whole[:-cut]) is None
