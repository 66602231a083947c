import contextlib
import json
import math
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coding import container
from coding.container import ContainerError, Encoded, Metadata
from coding.modes import MODES, Setting


def whole(setting, detail, **fields):
    """An Encoded, with a detail layer where the setting has one."""
    return Encoded(setting, detail=detail if setting.step else None, **fields)


optional = st.none() | st.binary(max_size=50)
positive = st.floats(2**-20, 2**20, width=32)
settings = st.sampled_from(list(MODES.values())).flatmap(
    lambda mode: st.builds(Setting, st.just(mode), st.sampled_from(mode.numbers))
)


@given(
    st.builds(
        whole,
        setting=settings,
        detail=st.binary(max_size=50),
        decoder_id=st.binary(min_size=8, max_size=8),
        payload=st.binary(max_size=100),
        metadata=st.builds(
            Metadata,
            width=st.integers(1, 16384),
            height=st.integers(1, 16384),
            gray=st.booleans(),
            one_channel=st.booleans(),
            alpha=optional,
            icc=optional,
            exif=optional,
            xmp=optional,
            resolution=st.none() | st.tuples(positive, positive),
            layer=optional,
        ),
    )
)
def test_what_is_packed_is_unpacked(encoded):
    assert container.unpack(container.pack(encoded)) == encoded


def make(payload=b"payload", **metadata):
    return Encoded(
        Setting(MODES["hard"], 2), b"8 bytes.", Metadata(**{"width": 7, "height": 5, **metadata}), payload
    )


def sealed(body):
    return body + struct.pack("<I", zlib.crc32(body))


def test_header_and_checksum_take_no_more_than_32_bytes():
    assert len(container.pack(make(payload=b""))) <= 32


def test_every_bit_flip_and_truncation_is_refused():
    data = container.pack(make(alpha=b"alpha", icc=b"icc", exif=b"exif", xmp=b"xmp", resolution=(300, 72)))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ContainerError):
            container.unpack(bytes(changed))
    for end in range(len(data)):
        with pytest.raises(ContainerError):
            container.unpack(data[:end])


@given(st.binary(max_size=80))
def test_any_bytes_with_a_right_checksum_give_an_answer_or_a_container_error(tail):
    with contextlib.suppress(ContainerError):
        container.unpack(sealed(container.MAGIC + bytes([container.VERSION]) + tail))


@pytest.mark.parametrize("width, height", [(0, 5), (5, 0), (65_536, 1), (65_535, 65_535)])
def test_sizes_outside_the_limits_are_refused_both_ways(width, height):
    with pytest.raises(ContainerError, match="limits"):
        container.pack(make(width=width, height=height))
    body = bytearray(container.pack(make())[:-4])
    struct.pack_into("<II", body, 9, width, height)
    with pytest.raises(ContainerError, match="limits"):
        container.unpack(sealed(bytes(body)))


def test_a_chunk_that_inflates_without_bound_is_refused():
    body = bytearray(container.pack(make(icc=b"x"))[:-4])
    bomb = zlib.compress(bytes(container.MAX_METADATA + 1))
    body[25:] = struct.pack("<I", len(bomb)) + bomb
    with pytest.raises(ContainerError, match="too large"):
        container.unpack(sealed(bytes(body)))


@pytest.mark.parametrize(
    "content",
    [b"", bytes(8), bytes(9), *(struct.pack("<ff", 72, value) for value in (math.nan, -1, 1e-9, 1e9))],
)
def test_a_resolution_that_is_none_is_damage(content):
    body = bytearray(container.pack(make(resolution=(72, 72)))[:-4])
    body[25:] = struct.pack("<I", len(content)) + content
    with pytest.raises(ContainerError, match="resolution"):
        container.unpack(sealed(bytes(body)))


def test_other_versions_and_unknown_fields_are_named():
    body = container.pack(make())[:-4]
    for offset, value, message in [
        (4, 2, "version 2"),
        (5, 2, "features"),
        (5, 9, "features"),
        (6, 0, "features"),
        (6, 10, "features"),
    ]:
        changed = bytearray(body)
        changed[offset] = value
        with pytest.raises(ContainerError, match=message):
            container.unpack(sealed(bytes(changed)))


def test_description_is_json():
    data = container.pack(make(exif=b"exif", xmp=b"xmp", resolution=(300, 72.009)))
    fields = json.loads(json.dumps(container.describe(data)))
    assert fields["width"] == 7
    assert fields["exif_bytes"] == len(zlib.compress(b"exif", 9)) and fields["alpha_bytes"] == 0
    assert fields["resolution"] == [300, 72.009] and fields["bytes"] == len(data)
    assert fields["bpp"] == round(8 * len(data) / 35, 4)


def test_sizes_are_those_in_the_file():
    metadata = {"alpha": b"png", "icc": b"", "exif": bytes(5000), "xmp": b"<x/>", "layer": b"webp"}
    encoded = make(**metadata, resolution=(72, 72))
    fields = container.describe(container.pack(encoded))
    sizes = [fields[f"{name}_bytes"] for name in metadata]
    assert fields["exif_bytes"] < 100 and fields["icc_bytes"] == len(zlib.compress(b""))
    assert fields["bytes"] == 29 + fields["payload_bytes"] + sum(4 + size for size in (*sizes, 8))


@pytest.mark.parametrize("number", [241, 255])
def test_rates_beyond_the_highest_are_refused(number):
    variable = Setting(MODES["variable"], 240)
    body = bytearray(container.pack(Encoded(variable, b"8 bytes.", Metadata(7, 5), b"", b""))[:-4])
    body[6] = number
    with pytest.raises(ContainerError):
        container.unpack(sealed(bytes(body)))
