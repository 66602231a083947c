"""Image files that are read."""

import pytest
from PIL import Image

from pictures import reading
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
