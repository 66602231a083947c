"""The exact layer: blocks of a picture that a file keeps without loss, as WebP pictures.

A block is 16x16 pixels, those of one position of the latents. The picture is divided into areas, so that
memory stays bounded and sides are within those of WebP; each that has such blocks is a lossless WebP picture
of the rectangle around them, transparent in its other blocks. Mixed raster content (ITU-T T.44) divides pages
into layers like this.

    for each area of 4096x4096 pixels, row by row:
        length (4), of the WebP file; 0 for an area without such blocks, of which nothing more comes
        row (1), column (1) of the first block of the rectangle in its area
        WebP file
"""

import dataclasses
import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from coding.container import ContainerError
from coding.tiles import STRIDE
from pictures import pillow
from pictures.fill import fill
from pictures.picture import Picture

AREA = 256  # blocks a side
FAST, SMALL = {"method": 3, "quality": 60}, {"method": 4, "quality": 100}  # of WebP's lossless coder

_HEAD = struct.Struct("<I")
_PLACE = struct.Struct("<BB")


@dataclasses.dataclass(frozen=True)
class Part:
    """Pixels of a rectangle of a picture: rgb uint8 (h, w, 3), and known, bool (h, w), where they count."""

    rows: slice
    columns: slice
    rgb: np.ndarray
    known: np.ndarray


def all_blocks(picture: Picture) -> np.ndarray:
    """The mask of all blocks of a picture, bool (ceil(H/16), ceil(W/16))."""
    return np.ones([-(-side // STRIDE) for side in reversed(picture.colours.size)], bool)


def separate(picture: Picture, mask: np.ndarray) -> Picture:
    """The picture with the blocks of a mask in its exact layer, and smooth colours in their place."""
    if not mask.any():
        return picture
    metadata = dataclasses.replace(picture.metadata, layer=encode(picture.colours, mask))
    return dataclasses.replace(without(picture, mask), metadata=metadata)


def without(picture: Picture, mask: np.ndarray) -> Picture:
    """The picture with smooth colours in the blocks of a mask, for which the transforms need few bits."""
    if not mask.any() or mask.all():
        return picture
    known = ~known_pixels(mask, *picture.colours.size)
    colours = Image.fromarray(fill(np.asarray(picture.colours.convert("RGB")), known))
    return dataclasses.replace(picture, colours=colours.convert(picture.colours.mode))


def put(rgb: np.ndarray, content: bytes, is_all: bool) -> None:
    """Put the layer in some bytes into pixels uint8 (H, W, 3); raises ContainerError.

    is_all: there is nothing else, so that the layer must have all pixels
    """
    height, width = rgb.shape[:2]
    count = 0
    for part in decode(content, width, height):
        np.copyto(rgb[part.rows, part.columns], part.rgb, where=part.known[:, :, None])
        count += np.count_nonzero(part.known)
    if is_all and count < width * height:
        raise ContainerError("the file is damaged (there is no payload)")


def encode(colours: Image.Image, mask: np.ndarray, *, fast: bool = False) -> bytes:
    """The bytes of the layer of some blocks.

    colours: L or RGB
    mask: bool (ceil(H/16), ceil(W/16)), True for the blocks of the layer
    fast: look less for what takes few bytes
    """
    return b"".join(_encode_area(colours, mask, *corner, fast) for corner in _corners(*mask.shape))


def decode(content: bytes, width: int, height: int) -> Iterator[Part]:
    """The parts of a layer in its bytes; raises ContainerError. width, height: of the picture in pixels."""
    position = 0
    for corner in _corners(-(-height // STRIDE), -(-width // STRIDE)):
        (length,) = _take(_HEAD, content, position)
        position += _HEAD.size
        if length:
            place = np.add(corner, _take(_PLACE, content, position)) * STRIDE
            position += _PLACE.size
            bottom, right = np.minimum(np.add(corner, AREA) * STRIDE, (height, width)).tolist()
            yield _decode_area(content[position : position + length], length, *place.tolist(), right, bottom)
            position += length
    if position != len(content):
        raise ContainerError("the file is damaged (the exact layer is cut)")


def mask_of(content: bytes, width: int, height: int) -> np.ndarray:
    """The blocks of a layer in its bytes, bool (ceil(H/16), ceil(W/16)); raises ContainerError."""
    mask = np.zeros((-(-height // STRIDE), -(-width // STRIDE)), bool)
    for part in decode(content, width, height):
        rows, columns = (slice(s.start // STRIDE, -(-s.stop // STRIDE)) for s in (part.rows, part.columns))
        mask[rows, columns] = part.known[::STRIDE, ::STRIDE]
    return mask


def known_pixels(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which pixels are in blocks of a mask, bool (H, W)."""
    return mask.repeat(STRIDE, 0).repeat(STRIDE, 1)[:height, :width]


def _corners(rows, columns):
    """Row and column of the first block of each area."""
    return [(row, column) for row in range(0, rows, AREA) for column in range(0, columns, AREA)]


def _encode_area(colours, mask, row, column, fast):
    blocks = mask[row : row + AREA, column : column + AREA]
    if not blocks.any():
        return _HEAD.pack(0)
    (top, bottom), (left, right) = (_span(blocks.any(axis)) for axis in (1, 0))
    blocks = blocks[top:bottom, left:right]
    box = (column + left) * STRIDE, (row + top) * STRIDE, (column + right) * STRIDE, (row + bottom) * STRIDE
    box = (*box[:2], min(box[2], colours.width), min(box[3], colours.height))
    picture = pillow.crop(colours, box).convert("RGB")
    if not blocks.all():
        known = known_pixels(blocks, *picture.size)
        picture = Image.fromarray(np.dstack([np.asarray(picture) * known[:, :, None], known * np.uint8(255)]))
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=True, **(FAST if fast else SMALL))
    return _HEAD.pack(file.tell()) + _PLACE.pack(top, left) + file.getvalue()


def _span(marked):
    """The first that is True, and the one after the last."""
    where = np.flatnonzero(marked)
    return where[0], where[-1] + 1


def _take(structure, content, position):
    if position + structure.size > len(content):
        raise ContainerError("the file is damaged (the exact layer is cut)")
    return structure.unpack_from(content, position)


def _decode_area(file, length, top, left, most_right, most_bottom):
    """The Part of a WebP file whose first pixel is at (top, left), within its area and the picture."""
    try:
        with pillow.limits():
            picture = Image.open(io.BytesIO(file), formats=["WEBP"])
            right, bottom = left + picture.width, top + picture.height
            is_inside = right <= most_right and bottom <= most_bottom
            if len(file) != length or not is_inside or picture.mode not in ("RGB", "RGBA"):
                raise ContainerError("the file is damaged (the exact layer)")
            pixels = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ContainerError("the file is damaged (the exact layer)") from error
    known = pixels[:, :, 3] > 0 if pixels.shape[2] == 4 else np.ones(pixels.shape[:2], bool)
    return Part(slice(top, bottom), slice(left, right), pixels[:, :, :3], known)
