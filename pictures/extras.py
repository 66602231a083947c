"""What goes with the colours of a picture: alpha, orientation and EXIF."""

import io

from PIL import Image, ImageOps

from pictures import pillow
from pictures.pillow import PictureError

ORIENTATION = 0x0112  # the EXIF tag


def upright(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """The image with its EXIF orientation applied, and the bytes of its other EXIF tags or None.

    EXIF that cannot be read is dropped, and so are the tags of a TIFF file, which say how its pixels lie.
    """
    try:
        with pillow.limits():
            turned = image.getexif().get(ORIENTATION, 1) != 1
            image = ImageOps.exif_transpose(image) if turned else image  # which copies in any case
            exif = image.getexif()
            return image, exif.tobytes() if exif else None
    except MemoryError:
        raise
    except Exception:  # Pillow's reader can fail in any way on damaged bytes
        return image, None


def checked_exif(content: bytes) -> bytes:
    """EXIF bytes that can be read and written: what cannot would fail when the image is saved.

    Raises PictureError.
    """
    try:
        with pillow.limits():
            exif = Image.Exif()
            exif.load(content)
            exif.tobytes()
    except Exception as error:  # as above
        raise PictureError("the EXIF data is damaged") from error
    return content


def to_png(plane: Image.Image) -> bytes:
    """A PNG file of an alpha plane."""
    file = io.BytesIO()
    plane.save(file, "PNG", optimize=True)
    return file.getvalue()


def put_alpha(image: Image.Image, alpha: bytes) -> None:
    """Give an image, L or RGB, the alpha plane in a PNG file; raises PictureError."""
    try:
        with pillow.limits():
            plane = Image.open(io.BytesIO(alpha), formats=["PNG"])
            if plane.mode != "L" or plane.size != image.size:
                raise PictureError("the alpha plane is damaged")
            image.putalpha(plane)
    except Exception as error:  # Pillow's reader can fail in any way on damaged bytes
        raise PictureError("the alpha plane is damaged") from error
