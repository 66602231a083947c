import json
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitstream
from bitstream import BitstreamError, Encoded

optional = st.none() | st.binary(max_size=50)


@given(st.builds(
    Encoded, quantize_mode=st.sampled_from(list(bitstream.MODES)), B=st.integers(1, 16),
    width=st.integers(1, 16384), height=st.integers(1, 16384), model_id=st.binary(min_size=8, max_size=8),
    payload=st.binary(max_size=100), gray=st.booleans(), one_channel=st.booleans(),
    alpha=optional, icc=optional, exif=optional))
def test_what_is_packed_is_unpacked(encoded):
    assert bitstream.unpack(bitstream.pack(encoded)) == encoded


def make(**changes):
    fields = dict(quantize_mode="hard", B=2, width=7, height=5, model_id=b"8 bytes.", payload=b"payload")
    return Encoded(**{**fields, **changes})


def sealed(body):
    return body + struct.pack("<I", zlib.crc32(body))


def test_header_and_checksum_take_no_more_than_32_bytes():
    assert len(bitstream.pack(make(payload=b""))) <= 32


def test_every_bit_flip_and_truncation_is_refused():
    data = bitstream.pack(make(alpha=b"alpha", icc=b"icc", exif=b"exif"))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            bitstream.unpack(bytes(changed))
    for end in range(len(data)):
        with pytest.raises(BitstreamError):
            bitstream.unpack(data[:end])


@given(st.binary(max_size=80))
def test_any_bytes_with_a_right_checksum_give_an_answer_or_a_bitstream_error(tail):
    try:
        bitstream.unpack(sealed(bitstream.MAGIC + bytes([bitstream.VERSION]) + tail))
    except BitstreamError:
        pass


@pytest.mark.parametrize("width, height", [(0, 5), (5, 0), (65_536, 1), (65_535, 65_535)])
def test_sizes_outside_the_limits_are_refused_both_ways(width, height):
    with pytest.raises(BitstreamError, match="limits"):
        bitstream.pack(make(width=width, height=height))
    body = bytearray(bitstream.pack(make())[:-4])
    struct.pack_into("<II", body, 8, width, height)
    with pytest.raises(BitstreamError, match="limits"):
        bitstream.unpack(sealed(bytes(body)))


def test_a_chunk_that_inflates_without_bound_is_refused():
    body = bytearray(bitstream.pack(make(icc=b"x"))[:-4])
    bomb = zlib.compress(bytes(bitstream.MAX_METADATA + 1))
    body[24:] = struct.pack("<I", len(bomb)) + bomb
    with pytest.raises(BitstreamError, match="too large"):
        bitstream.unpack(sealed(bytes(body)))


def test_other_versions_and_unknown_fields_are_named():
    body = bitstream.pack(make())[:-4]
    for offset, value, message in [(4, 2, "version 2"), (5, 9, "features"), (6, 0, "features"), (7, 128, "features")]:
        changed = bytearray(body)
        changed[offset] = value
        with pytest.raises(BitstreamError, match=message):
            bitstream.unpack(sealed(bytes(changed)))


def test_description_is_json():
    data = bitstream.pack(make(exif=b"exif"))
    fields = json.loads(json.dumps(bitstream.describe(data)))
    assert fields["width"] == 7 and fields["exif_bytes"] == 4 and fields["bytes"] == len(data)
    assert fields["bpp"] == round(8 * len(data) / 35, 4)
