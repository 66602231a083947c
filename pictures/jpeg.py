"""JPEG files that lack their end marker, and nothing else."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

START, END = b"\xff\xd8", b"\xff\xd9"
_NOISE = np.random.default_rng(0).integers(0, 255, 1 << 15, np.uint8).tobytes()  # without the byte of markers
NOISE = _NOISE + b"".join(bytes([0xFF, restart]) + _NOISE for restart in range(0xD0, 0xD8))
_SCAN, _FRAMES = 0xDA, (0xC0, 0xC1, 0xC2)


def without_end(data: bytes) -> bytes | None:
    """A whole JPEG file, where only the end marker is missing in `data`, or None."""
    data = data.removesuffix(END[:1])
    try:
        whole, other = (_pixels(data + tail + END) for tail in (b"", NOISE))
        # A decoder makes up for lacking pixels from what follows; it ignores what it does not need.
        return data + END if np.array_equal(whole, other) and _is_refined(data) else None
    except (OSError, ValueError, SyntaxError, IndexError):
        return None


def _pixels(data):
    return np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]))


def _is_refined(data):
    """Whether scans bring all 64 coefficients of all components to their last bit."""
    refined, components = set(), 0
    for marker, content in _segments(data):
        if marker in _FRAMES:
            components = content[5]
        if marker == _SCAN:
            names, (first, last, bits) = content[1 : 1 + 2 * content[0] : 2], content[-3:]
            if bits % 16 == 0:
                refined |= {(name, number) for name in names for number in range(first, last + 1)}
    return len(refined) == 64 * components


def _segments(data) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment of a JPEG file."""
    position = 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker in (0, 0xFF, *range(0xD0, 0xDA)):  # of coded pixels, or padding
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, data[position + 4 : end]
        position = end
