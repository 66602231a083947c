"""What a PNG file says and Pillow leaves out or changes."""

import struct
from typing import BinaryIO

from PIL import Image

LABEL = b"cICP"
MAGIC = b"\x89PNG\r\n\x1a\n"
LARGEST = 1 << 16  # bytes of a chunk that is looked at


def chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """Content of the small chunks before the pixels, by kind, of an open PNG file; of another file none."""
    found = {}
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        return found
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            break
        if length <= LARGEST:
            found[kind] = file.read(length)
            length = 0
        file.seek(length + 4, 1)
    return found


def bits(found: dict[bytes, bytes]) -> int:
    """Bits of a sample, 8 where nothing is said."""
    header = found.get(b"IHDR", b"")
    return header[8] if len(header) == 13 else 8


def scale_key(image: Image.Image, found: dict[bytes, bytes]) -> None:
    """Bring the transparent level of a gray image below 8 bits to 8 bits, as Pillow does with its pixels."""
    key = image.info.get("transparency")
    if image.mode in ("1", "L") and isinstance(key, int) and bits(found) < 8:
        largest = 2 ** bits(found) - 1
        image.info["transparency"] = (key & largest) * 255 // largest
