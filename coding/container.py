"""The `.encoded` container: a fixed header, optional chunks, the payload and a checksum.

    offset  size  field, integers little-endian
         0     4  magic, 89 41 43 4D ("\\x89ACM")
         4     1  version, 1
         5     1  mode: 0 hard, 1 soft, 3 variable
         6     1  number of the rate; in hard and soft mode B
         7     2  flags: 1 gray picture, 2 stored as one channel, 4 alpha, 8 ICC profile, 16 EXIF,
                  32 XMP, 64 resolution, 128 exact layer, 256 quantization steps of the tune for the eye
         9     4  width in pixels
        13     4  height in pixels
        17     8  id of the decoder this file needs
        25        for each of alpha, ICC, EXIF, XMP, resolution and exact layer that is flagged: length (4),
                  content; alpha is a PNG file, resolution two float32, the layer that of `layers/exact.py`,
                  the others are deflated, and an ICC profile of no bytes stands for sRGB
                  where the number has a detail layer: length (4), code of `detail.py`
                  payload, up to the last four bytes; none if all blocks are in the exact layer
        -4     4  CRC-32 of everything before it

This module knows bytes only: no image, no model. `codec.py` gives the fields their meaning.
"""

import dataclasses
import struct
import zlib

from coding.errors import UserError
from coding.modes import MODES, Setting

MAGIC = b"\x89ACM"
VERSION = 1
MAX_SIDE = 65_535
MAX_PIXELS = 1 << 28  # what a file of a few bytes may make its reader allocate
SRGB = b""  # in the place of an ICC profile of sRGB
MAX_METADATA = 16 << 20  # bytes of an inflated ICC profile, EXIF or XMP block
MIN_RESOLUTION, MAX_RESOLUTION = 2.0**-20, 2.0**20  # pixels per inch

_HEADER = struct.Struct("<4sBBBHII8s")
_MODES = {mode.code: mode for mode in MODES.values()}
_GRAY, _ONE_CHANNEL, _EYE = 1, 2, 256
_FLAGS = 511  # those that there are
_CHUNKS = {"alpha": 4, "icc": 8, "exif": 16, "xmp": 32, "resolution": 64, "layer": 128}
_DEFLATED = ("icc", "exif", "xmp")
_RESOLUTION = struct.Struct("<ff")


class ContainerError(UserError):
    """Bytes that are no whole `.encoded` file, or a picture that none can hold."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a file says of its picture besides the payload.

    width, height: in pixels.
    gray: the picture has no colour; one_channel: it came as, and is returned as, a single channel.
    alpha: PNG file of the alpha plane; icc, exif, xmp: their bytes, or SRGB for icc; resolution: pixels per
    inch, across and down; layer: the exact layer. Each may be missing.
    """

    width: int
    height: int
    gray: bool = False
    one_channel: bool = False
    alpha: bytes | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    resolution: tuple[float, float] | None = None
    layer: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Everything a `.encoded` file holds; decoder_id: 8 bytes; detail: where the setting has such a layer."""

    setting: Setting
    decoder_id: bytes
    metadata: Metadata
    payload: bytes
    detail: bytes | None = None


def check_size(width: int, height: int) -> None:
    """Raise ContainerError for a picture that the format does not hold; width and height in pixels."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise ContainerError(
            f"a picture of {width}x{height} pixels is outside the limits "
            f"({MAX_SIDE} a side, {MAX_PIXELS // 10**6} megapixels)"
        )


def pack(encoded: Encoded) -> bytes:
    """Bytes of an `Encoded`; raises ContainerError for a size outside the limits."""
    setting, metadata = encoded.setting, encoded.metadata
    check_size(metadata.width, metadata.height)
    chunks = {name: getattr(metadata, name) for name in _CHUNKS if getattr(metadata, name) is not None}
    flags = (
        sum(_CHUNKS[name] for name in chunks)
        | _GRAY * metadata.gray
        | _ONE_CHANNEL * metadata.one_channel
        | _EYE * (setting.tune == "eye")
    )
    body = _HEADER.pack(
        MAGIC,
        VERSION,
        setting.mode.code,
        setting.number,
        flags,
        metadata.width,
        metadata.height,
        encoded.decoder_id,
    )
    for name, content in chunks.items():
        body += _pack_chunk(name, content)
    if setting.step:
        body += _pack_chunk("detail", encoded.detail)
    body += encoded.payload
    return body + struct.pack("<I", zlib.crc32(body))


def _pack_chunk(name, content):
    if name in _DEFLATED:
        if len(content) > MAX_METADATA:
            raise ContainerError(f"the picture's {name.upper()} data is over {MAX_METADATA >> 20} MiB")
        content = zlib.compress(content, 9)
    elif name == "resolution":
        content = _RESOLUTION.pack(*content)
    return struct.pack("<I", len(content)) + content


def unpack(data: bytes) -> Encoded:
    """The `Encoded` in the bytes `data`; raises ContainerError if they are damaged or not ours."""
    return _unpack(data)[0]


def _unpack(data):
    """The `Encoded` in the bytes `data`, and how many of them each chunk's content takes, by its name."""
    if data[:4] != MAGIC:
        raise ContainerError("not an AutoCompressor file")
    if len(data) < _HEADER.size + 4:
        raise ContainerError("the file is truncated")
    _, version, code, number, flags, width, height, decoder_id = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ContainerError(f"the file has format version {version}; this program reads version {VERSION}")
    if zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise ContainerError("the file is damaged or truncated (checksum mismatch)")
    tune = "eye" if flags & _EYE else "psnr"
    known = code in _MODES and number in _MODES[code].numbers and tune in _MODES[code].tunes
    if not known or flags & ~_FLAGS:
        raise ContainerError("the file uses features this program does not know")
    check_size(width, height)

    setting, position, end = Setting(_MODES[code], number, tune), _HEADER.size, len(data) - 4
    names, stored = [name for name, flag in _CHUNKS.items() if flags & flag], {}
    for name in names + ["detail"] * (setting.step is not None):
        stored[name], position = _read_chunk(data, position, end)
    chunks = {name: _content_of(name, stored[name]) for name in names}
    metadata = Metadata(width, height, bool(flags & _GRAY), bool(flags & _ONE_CHANNEL), **chunks)
    encoded = Encoded(setting, decoder_id, metadata, bytes(data[position:end]), stored.get("detail"))
    return encoded, {name: len(content) for name, content in stored.items()}


def _read_chunk(data, position, end):
    """What lies in the chunk at `position` of the bytes `data`, and the position after it, `end` at most."""
    start = position + 4
    if start > end:
        raise ContainerError("the file is damaged (a chunk is cut)")
    (length,) = struct.unpack_from("<I", data, position)
    if length > end - start:
        raise ContainerError("the file is damaged (a chunk is cut)")
    return bytes(data[start : start + length]), start + length


def _content_of(name, content):
    if name in _DEFLATED:
        return _inflate(content)
    return _resolution_in(content) if name == "resolution" else content


def _resolution_in(content):
    resolution = _RESOLUTION.unpack(content) if len(content) == _RESOLUTION.size else (0, 0)
    if not all(MIN_RESOLUTION <= value <= MAX_RESOLUTION for value in resolution):
        raise ContainerError("the file is damaged (its resolution is none)")
    return resolution


def _inflate(content):
    try:
        inflater = zlib.decompressobj()
        result = inflater.decompress(content, MAX_METADATA)
    except zlib.error as error:
        raise ContainerError("the file is damaged (a chunk does not inflate)") from error
    if not inflater.eof:
        raise ContainerError("the file is damaged (a chunk is cut or too large)")
    return result


def describe(data: bytes) -> dict:
    """The header of the bytes `data` as a dict for people and JSON; sizes in bytes, bpp in bits per pixel.

    Sizes are those in the file, where metadata are deflated, without the four bytes that say them.
    B: bits of the quantizer, a fraction between the steps of variable mode. Raises ContainerError.
    """
    encoded, sizes = _unpack(data)
    setting, metadata = encoded.setting, encoded.metadata
    return {
        "format": "AutoCompressor",
        "version": VERSION,
        "quantize_mode": setting.mode.name,
        "tune": setting.tune,
        "B": setting.mode.bits + setting.t,
        "width": metadata.width,
        "height": metadata.height,
        "gray": metadata.gray,
        "channels": 1 if metadata.one_channel else 3,
        "decoder_id": encoded.decoder_id.hex(),
        "payload_bytes": len(encoded.payload),
        **{f"{name}_bytes": sizes.get(name, 0) for name in _CHUNKS if name != "resolution"},
        "resolution": metadata.resolution and [round(value, 3) for value in metadata.resolution],
        "detail_bytes": sizes.get("detail", 0),
        "bytes": len(data),
        "bpp": round(8 * len(data) / (metadata.width * metadata.height), 4),
    }
