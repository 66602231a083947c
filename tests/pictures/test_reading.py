"""Image files that are read."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from pictures import reading
from pictures.picture import Picture
from pictures.pillow import PictureError


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\nrubbish", b"BM" + bytes(60)])
def test_files_that_are_no_images_are_an_error_of_ours(tmp_path, content):
    path = tmp_path / "file.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"file\.png"):
        reading.read(path)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "gif"])
def test_truncated_images_are_an_error_of_ours(tmp_path, photo, extension):
    whole, cut = tmp_path / f"whole.{extension}", tmp_path / f"cut.{extension}"
    Image.fromarray(photo).save(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(PictureError, match="cut"):
        reading.read(cut)


def test_damage_that_pillow_has_no_error_for_is_an_error_of_ours(tmp_path, photo):
    path = tmp_path / "photo.dds"
    Image.fromarray(photo).save(path)
    damaged = bytearray(path.read_bytes())
    damaged[80:84] = 16, 0, 0, 0  # flags of the pixels, of which Pillow says NotImplementedError
    path.write_bytes(damaged)
    with pytest.raises(PictureError, match="photo"):
        reading.read(path)


@pytest.mark.parametrize("extension", ["png", "jpg", "tif"])
def test_what_there_is_of_a_truncated_image_is_taken_on_request(tmp_path, photo, extension, caplog):
    whole, cut = tmp_path / f"whole.{extension}", tmp_path / f"cut.{extension}"
    Image.fromarray(photo).resize((300, 400)).save(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    image = Picture.from_image(reading.read(str(cut), tolerant=True)).colours
    assert "what there is of it is taken" in caplog.text and before == ImageFile.LOAD_TRUNCATED_IMAGES
    difference = np.abs(np.asarray(image).astype(int) - np.asarray(Image.open(whole)))
    assert difference[:40].max() <= 8


def test_threads_leave_the_limits_of_pillow_as_they_were(tmp_path, photo):
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    before = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda _: reading.read(str(path)).size, range(200)))
    assert sizes == [(56, 40)] * 200 and before == Image.MAX_IMAGE_PIXELS
