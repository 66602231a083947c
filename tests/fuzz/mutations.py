"""Damage done to bytes: at random, and then with checksums that are right again, to get past them."""

import io
import json
import re
import struct
import zipfile
import zlib
from random import Random

from coding import container

PNG = b"\x89PNG\r\n\x1a\n"
NUMBERS = (
    0,
    1,
    2,
    3,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    1 << 20,
    1 << 28,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
TEXTS = (
    b"0",
    b"1",
    b"-1",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"16000",
    b"99999999",
    b"4294967296",
    b"1e9",
    b"nan",
)
VALUES = (
    None,
    True,
    -1,
    0,
    1,
    2,
    17,
    1024,
    1 << 40,
    0.5,
    1e400,
    "",
    "hard",
    "variable",
    [],
    [1],
    [[1]],
    {},
    "\ud800",
)


def mutate(random: Random, data: bytes, others: list[bytes]) -> bytes:
    """`data` after one to four of the changes; others: files that parts may be taken from."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        if data:
            random.choice(CHANGES)(random, data, others)
    return bytes(data)


def _part(random, data):
    """A slice of at most 64 bytes."""
    start = random.randrange(len(data))
    return slice(start, start + random.choice((1, 2, 4, 8, 64)))


def _flip(random, data, others):
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set(random, data, others):
    data[random.randrange(len(data))] = random.choice((0, 1, 127, 128, 254, 255))


def _number(random, data, others):
    """A number in the place of bytes, more often near the beginning, where headers are."""
    form = random.choice(("<H", ">H", "<I", ">I"))
    number = random.choice(NUMBERS) % (1 << 8 * struct.calcsize(form))
    end = len(data) if random.random() < 0.5 else min(len(data), 64)
    start = random.randrange(end)
    data[start : start + struct.calcsize(form)] = struct.pack(form, number)


def _text(random, data, others):
    """Another number in the place of one in digits."""
    found = list(re.finditer(rb"\d+", data[:256]))
    if found:
        start, end = random.choice(found).span()
        data[start:end] = random.choice(TEXTS)


def _delete(random, data, others):
    del data[_part(random, data)]


def _truncate(random, data, others):
    del data[random.randrange(len(data)) :]


def _insert(random, data, others):
    start = random.randrange(len(data))
    data[start:start] = random.randbytes(random.choice((1, 2, 4, 64)))


def _repeat(random, data, others):
    part = _part(random, data)
    data[part] = data[part] * random.choice((2, 3, 16))


def _move(random, data, others):
    data[_part(random, data)] = data[_part(random, data)]


def _splice(random, data, others):
    other = random.choice(others)
    data[random.randrange(len(data)) :] = other[random.randrange(len(other) + 1) :]


CHANGES = (_flip, _set, _number, _number, _text, _delete, _truncate, _insert, _repeat, _move, _splice)


def seal_container(data: bytes) -> bytes:
    """A `.encoded` file with the checksum that fits."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def seal_png(data: bytes) -> bytes:
    """A PNG file whose chunks have the checksums that fit, as far as chunks can be told."""
    data, position = bytearray(data), len(PNG)
    while position + 12 <= len(data):
        end = position + 8 + struct.unpack_from(">I", data, position)[0]
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(data)


def mutate_container(random: Random, data: bytes, others: list[bytes]) -> bytes:
    """A `.encoded` file with a right checksum, and damage in its header, a chunk's content or elsewhere."""
    choice = random.randrange(4)
    if choice == 0:
        return seal_container(mutate(random, data, others))
    encoded = container.unpack(data)
    header = bytearray(data[:25])
    contents = {name: getattr(encoded.metadata, name) for name in ("alpha", "icc", "exif")}
    payload = encoded.payload
    if choice == 1:
        payload = mutate(random, payload, [container.unpack(other).payload for other in others])
    elif choice == 2:
        struct.pack_into("<II", header, 9, *(_side(random) for _ in range(2)))
    else:
        name = random.choice(list(contents))
        contents[name] = _mutate_chunk(random, name, contents[name])
    body = bytes(header) + b"".join(_chunk(name, content) for name, content in contents.items() if content)
    flags = sum(bit for name, bit in (("alpha", 4), ("icc", 8), ("exif", 16)) if contents[name])
    body = body[:7] + bytes([header[7] & 3 | flags, header[8]]) + body[9:]
    return seal_container(body + payload + bytes(4))


def _side(random):
    """Of a picture: most often small, since a large one takes seconds."""
    return random.choice((1, 16, 17, 40, 300, 1000) * 8 + (0, 4096, 16384, 65535, 65536))


def _mutate_chunk(random, name, content):
    if name == "alpha" and content:
        return seal_png(mutate(random, content, [content]))
    return mutate(
        random,
        content or b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\0\0\0\0",
        [b"II*\0"],
    )


def _chunk(name, content):
    content = content if name == "alpha" else zlib.compress(content)
    return struct.pack("<I", len(content)) + content


def mutate_png(random: Random, data: bytes, others: list[bytes]) -> bytes:
    """A PNG file with damage that its checksums do not tell."""
    return seal_png(mutate(random, data, others))


def bomb(random: Random) -> bytes:
    """A PNG file of few bytes that has as many pixels as our format holds, or more."""
    width, height = random.choice(((16384, 16384), (65535, 4096), (65536, 4096), (32768, 16384)))
    depth, colour = random.choice(((1, 0), (1, 3), (8, 0)))
    row, deflate = bytes(1 + (width * depth + 7) // 8), zlib.compressobj(1)
    pixels = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"PLTE", bytes(6)), (b"IDAT", pixels), (b"IEND", b"")
    kept = (chunk for chunk in chunks if colour == 3 or chunk[0] != b"PLTE")
    return seal_png(PNG + b"".join(struct.pack(">I", len(c)) + name + c + bytes(4) for name, c in kept))


def mutate_model(random: Random, data: bytes, others: list[bytes]) -> bytes:
    """A `.model` file with damage in one part, or in one array of the last, that no checksum tells."""
    parts = _read_zip(data)
    name = random.choice(list(parts))
    if name == "model.json":
        parts[name] = _mutate_json(random, parts[name])
    elif name == "entropy_model.npz" and random.random() < 0.8:
        arrays = _read_zip(parts[name])
        array = random.choice(list(arrays))
        arrays[array] = mutate(random, arrays[array], [arrays[random.choice(list(arrays))]])
        parts[name] = _write_zip(arrays)
    else:
        parts[name] = mutate(random, parts[name], others)
    return _write_zip(parts)


def _read_zip(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write_zip(parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _mutate_json(random, content):
    """A value anywhere in JSON is replaced by another, or the text is damaged."""
    if random.random() < 0.3:
        return mutate(random, content, [content])
    tree = json.loads(content)
    node = tree
    while True:
        key = random.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not (isinstance(node[key], (dict, list)) and node[key] and random.random() < 0.8):
            break
        node = node[key]
    node[key] = random.choice(VALUES)
    return json.dumps(tree).encode()
