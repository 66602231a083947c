"""Pages in a single file: a template with its data in place of a mark."""

import base64
import io
import json
import os

from PIL import Image

from coding.files import replacing
from evaluation import measure

MARK = "/*DATA*/"
READ_BY_BROWSERS = ("JPEG", "WEBP", "AVIF")  # names of Pillow


def write(template: str, data: dict, folder: str):
    """Write index.html.

    template: name of a file beside this one, with MARK in a script element of JSON
    data: what it shows
    folder: where to
    """
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), template), encoding="utf-8") as file:
        page = file.read()
    # In a script element only "</" could end the data early.
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    with (
        replacing(os.path.join(folder, "index.html")) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        file.write(page.replace(MARK, text))


def picture(file: bytes) -> str:
    """The address of a picture that browsers read: the file itself, or a lossless WebP file of its pixels.

    Raises OSError where Pillow cannot read it.
    """
    image = Image.open(io.BytesIO(file))
    if image.format in READ_BY_BROWSERS:
        return uri(Image.MIME[image.format], file)
    return uri("image/webp", measure.lossless(image))


def uri(kind: str, data: bytes) -> str:
    """A file in the page itself, as the address of a picture; kind: its media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
