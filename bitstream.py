"""The `.encoded` container: a fixed header, optional chunks, the payload and a checksum.

    offset  size  field, integers little-endian
         0     4  magic, 89 41 43 4D ("\\x89ACM")
         4     1  version, 1
         5     1  quantiser mode: 0 hard, 1 soft, 3 variable
         6     1  B, bits of the quantiser; in variable mode the number of the rate
         7     1  flags: 1 gray picture, 2 stored as one channel, 4 alpha, 8 ICC profile, 16 EXIF
         8     4  width in pixels
        12     4  height in pixels
        16     8  model id: the decoder this file needs
        24        for each of alpha, ICC and EXIF that is flagged: length (4), content;
                  alpha is a PNG file, the others are deflated
                  payload, up to the last four bytes
        -4     4  CRC-32 of everything before it

This module knows bytes only: no image, no model. `codec.py` gives the fields their meaning.
"""
import dataclasses
import struct
import zlib

MAGIC = b"\x89ACM"
VERSION = 1
MODES = {"hard": 0, "soft": 1, "variable": 3}
_RETIRED_MODE = 2  # variable mode with another context model, before its first release
RATE_STEPS = 240  # of 1/64 from the lowest rate of variable mode to the highest
LOWEST_RATE = -1.25
MAX_SIDE = 65_535
MAX_PIXELS = 1 << 28     # what a file of a few bytes may make its reader allocate
MAX_METADATA = 16 << 20  # bytes of an inflated ICC profile or EXIF block

_HEADER = struct.Struct("<4sBBBBII8s")
_GRAY, _ONE_CHANNEL = 1, 2
_CHUNKS = {"alpha": 4, "icc": 8, "exif": 16}
_DEFLATED = ("icc", "exif")


class BitstreamError(ValueError):
    """Bytes that are no whole `.encoded` file; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Everything a `.encoded` file holds.

    B: bits of the quantiser, in variable mode the number of the rate, 0 to RATE_STEPS; width, height: of
    the picture in pixels; gray: it has no colour; one_channel: it came as, and is returned as, a single
    channel; model_id: 8 bytes; alpha, icc, exif: chunk content or None.
    """
    quantize_mode: str
    B: int
    width: int
    height: int
    model_id: bytes
    payload: bytes
    gray: bool = False
    one_channel: bool = False
    alpha: bytes | None = None
    icc: bytes | None = None
    exif: bytes | None = None

    @property
    def rate(self):
        """t of variable mode, 0 in the others."""
        return rate(self.B) if self.quantize_mode == "variable" else 0.0


def rate(number):
    """The rate t, a multiple of 1/64, of a number in 0 ... RATE_STEPS: the quantisation step is 2^-t."""
    return LOWEST_RATE + number / 64


def check_size(width, height):
    """Raise BitstreamError for a picture that the format does not hold."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise BitstreamError(f"a picture of {width}x{height} pixels is outside the limits "
                             f"({MAX_SIDE} a side, {MAX_PIXELS >> 20} megapixels)")


def pack(encoded):
    """Bytes of an `Encoded`; raises BitstreamError for a size outside the limits."""
    check_size(encoded.width, encoded.height)
    chunks = {name: getattr(encoded, name) for name in _CHUNKS if getattr(encoded, name) is not None}
    flags = sum(_CHUNKS[name] for name in chunks) | _GRAY * encoded.gray | _ONE_CHANNEL * encoded.one_channel
    body = _HEADER.pack(MAGIC, VERSION, MODES[encoded.quantize_mode], encoded.B, flags,
                        encoded.width, encoded.height, encoded.model_id)
    for name, content in chunks.items():
        if name in _DEFLATED:
            if len(content) > MAX_METADATA:
                raise BitstreamError(f"the picture's {name.upper()} data is over {MAX_METADATA >> 20} MiB")
            content = zlib.compress(content, 9)
        body += struct.pack("<I", len(content)) + content
    body += encoded.payload
    return body + struct.pack("<I", zlib.crc32(body))


def unpack(data):
    """The `Encoded` in the bytes `data`; raises BitstreamError if they are damaged or not ours."""
    if data[:4] != MAGIC:
        raise BitstreamError("not an AutoCompressor file")
    if len(data) < _HEADER.size + 4:
        raise BitstreamError("the file is truncated")
    _, version, mode, B, flags, width, height, model_id = _HEADER.unpack_from(data)
    if version != VERSION:
        raise BitstreamError(f"the file has format version {version}; this program reads version {VERSION}")
    if zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise BitstreamError("the file is damaged or truncated (checksum mismatch)")
    if mode == _RETIRED_MODE:
        raise BitstreamError("the file holds an early form of variable mode, which this program no longer reads")
    mode = {number: name for name, number in MODES.items()}.get(mode)
    if mode is None or B not in (range(RATE_STEPS + 1) if mode == "variable" else range(1, 17)) or flags & ~31:
        raise BitstreamError("the file uses features this program does not know")
    check_size(width, height)

    position, end, chunks = _HEADER.size, len(data) - 4, {}
    for name, flag in _CHUNKS.items():
        if flags & flag:
            if position + 4 > end:
                raise BitstreamError("the file is damaged (a chunk is cut)")
            length, = struct.unpack_from("<I", data, position)
            position += 4
            if length > end - position:
                raise BitstreamError("the file is damaged (a chunk is cut)")
            content = bytes(data[position:position + length])
            chunks[name] = _inflate(content) if name in _DEFLATED else content
            position += length
    return Encoded(mode, B, width, height, model_id, bytes(data[position:end]),
                   bool(flags & _GRAY), bool(flags & _ONE_CHANNEL), **chunks)


def _inflate(content):
    try:
        inflater = zlib.decompressobj()
        result = inflater.decompress(content, MAX_METADATA)
    except zlib.error as error:
        raise BitstreamError("the file is damaged (a chunk does not inflate)") from error
    if not inflater.eof:
        raise BitstreamError("the file is damaged (a chunk is cut or too large)")
    return result


def describe(data):
    """The header of the bytes `data` as a dict for people and JSON; sizes in bytes, rate in bits per pixel."""
    encoded = unpack(data)
    return {
        "format": "AutoCompressor", "version": VERSION,
        "quantize_mode": encoded.quantize_mode,
        "B": 10 + encoded.rate if encoded.quantize_mode == "variable" else encoded.B,
        "width": encoded.width, "height": encoded.height,
        "gray": encoded.gray, "channels": 1 if encoded.one_channel else 3,
        "model_id": encoded.model_id.hex(),
        "payload_bytes": len(encoded.payload),
        **{f"{name}_bytes": len(getattr(encoded, name) or b"") for name in _CHUNKS},
        "bytes": len(data),
        "bpp": round(8 * len(data) / (encoded.width * encoded.height), 4),
    }
