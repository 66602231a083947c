"""The exact layer: its bytes, and what it does to a picture."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coding.container import ContainerError
from conftest import picture_of
from layers import exact


def noise(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)


def put_into(content, rows, columns, **options):
    rgb = np.zeros((rows, columns, 3), np.uint8)
    exact.put(rgb, content, **{"is_all": False} | options)
    return rgb


@settings(max_examples=30)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1), st.booleans())
def test_the_blocks_of_a_mask_come_back_exactly(rows, columns, seed, fast):
    rgb, random = noise(rows, columns, seed), np.random.default_rng(seed)
    mask = random.random((-(-rows // 16), -(-columns // 16))) < random.random()
    content = exact.encode(Image.fromarray(rgb), mask, fast=fast)
    known = exact.known_pixels(mask, columns, rows)
    assert np.array_equal(put_into(content, rows, columns), rgb * known[:, :, None])
    assert np.array_equal(exact.mask_of(content, columns, rows), mask)


def test_areas_are_coded_by_themselves(monkeypatch):
    monkeypatch.setattr(exact, "AREA", 2)
    rgb, mask = noise(100, 80), np.zeros((7, 5), bool)
    mask[1:4, 1:4], mask[6, 4] = True, True
    content = exact.encode(Image.fromarray(rgb), mask)
    known = exact.known_pixels(mask, 80, 100)
    assert np.array_equal(put_into(content, 100, 80), rgb * known[:, :, None])
    assert np.array_equal(exact.mask_of(content, 80, 100), mask)


def test_a_part_stays_in_its_area(monkeypatch):
    """Two that overlap would count twice where all pixels must be there."""
    monkeypatch.setattr(exact, "AREA", 1)
    inside = area(webp(Image.new("RGB", (16, 16))))
    put_into(inside * 2, 16, 32, is_all=True)
    with pytest.raises(ContainerError, match="damaged"):
        put_into(area(webp(Image.new("RGB", (32, 8)))) + inside, 16, 32, is_all=True)


def test_black_is_a_colour():
    content = exact.encode(Image.new("L", (20, 20)), np.ones((2, 2), bool))
    rgb = np.full((20, 20, 3), 7, np.uint8)
    exact.put(rgb, content, is_all=True)
    assert not rgb.any()


def test_a_picture_is_smooth_where_it_is_kept_exactly():
    rgb, mask = np.full((64, 64, 3), 90, np.uint8), np.zeros((4, 4), bool)
    rgb[16:32, 16:48], mask[1, 1:3] = noise(16, 32), True
    picture = exact.separate(picture_of(rgb), mask)
    assert (np.asarray(picture.colours) == 90).all()
    assert np.array_equal(put_into(picture.metadata.layer, 64, 64)[16:32, 16:48], rgb[16:32, 16:48])


def webp(image, **options):
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, **options)
    return file.getvalue()


def area(file, row=0, column=0):
    return struct.pack("<I", len(file)) + bytes([row, column]) + file


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(3),
        bytes(5),
        struct.pack("<I", 10) + bytes(2),
        area(b"no picture"),
        area(webp(Image.new("RGB", (20, 20)))[:-4]),
        area(webp(Image.new("RGB", (33, 20)))),
        area(webp(Image.new("RGB", (17, 20))), column=1),
        area(webp(Image.new("RGB", (20, 20)))) + b"more",
        area(webp(Image.new("RGB", (20, 20)))) * 2,
    ],
)
def test_damaged_layers_are_an_error_of_ours(content):
    with pytest.raises(ContainerError, match="damaged"):
        put_into(content, 32, 32)


def test_where_there_is_nothing_else_a_layer_has_all_pixels():
    content = area(webp(Image.new("RGB", (32, 16))))
    put_into(content, 16, 32, is_all=True)
    with pytest.raises(ContainerError, match="no payload"):
        put_into(content, 32, 32, is_all=True)
