"""Image files that are written."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from pictures import reading, writing
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
