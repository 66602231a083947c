"""PNG files that Pillow does not write."""

import struct
import zlib

import numpy as np

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(kind, content):
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


def png(samples, bits, *chunks):
    """A PNG file of samples, integers (H, W, C), with further chunks, of kind and content, before them."""
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPES[channels], 0, 0, 0)
    if bits == 16:
        rows = samples.astype(">u2").tobytes()
    elif bits == 8:
        rows = samples.astype(np.uint8).tobytes()
    else:
        each = (samples[:, :, 0, None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(each.reshape(height, -1).astype(bool), axis=1).tobytes()
    stride = len(rows) // height
    body = b"".join(b"\0" + rows[row * stride : (row + 1) * stride] for row in range(height))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
