"""Photographs to crops."""

import os

import numpy as np
import pytest
import torch
from photos import write_photos
from PIL import Image

from coding.errors import UserError
from training import data


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


def test_images_come_from_folders_and_tars(photos):
    assert [image.shape for image in data.load_images([str(photos)])] == [(70, 90, 3), (90, 70, 3)]
    assert len(data.load_images([str(photos / "b.tar")])) == 1
    (photos / "none").mkdir()
    with pytest.raises(UserError, match="no images"):
        data.load_images([str(photos / "none")])


def test_crops_are_pieces_of_the_images():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    crops = data.Crops([image], 32)
    random = np.random.default_rng(1)
    found = 0
    for _ in range(20):
        batch = crops.sample(3, random)
        assert batch.shape == (3, 3, 32, 32) and batch.min() >= 0 and batch.max() <= 1
        crop = (batch[0] * 255).round().byte().permute(1, 2, 0).numpy()
        pieces = [image[y : y + 32, x : x + 32] for y in range(9) for x in range(19)]
        found += any(np.array_equal(crop, p) or np.array_equal(crop, p[:, ::-1]) for p in pieces)
    assert found >= 4  # the others are scaled


def test_crops_of_one_seed_are_the_same():
    image = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    crops = data.Crops([image], 32)
    assert torch.equal(crops.sample(4, np.random.default_rng(5)), crops.sample(4, np.random.default_rng(5)))


def test_unreadable_images_are_left_out_and_counted(photos, caplog):
    (photos / "c.png").write_bytes((photos / "a.png").read_bytes()[:100])
    assert len(data.load_images([str(photos)])) == 2
    assert "1 of 3 images" in caplog.text
    (photos / "alone").mkdir()
    os.rename(photos / "c.png", photos / "alone" / "c.png")
    with pytest.raises(UserError, match="none of the 1 images"):
        data.load_images([str(photos / "alone")])


def test_images_that_are_too_small_are_left_out_and_counted(photos, caplog):
    Image.new("RGB", (500, 15)).save(photos / "flat.png")
    assert len(data.load_images([str(photos)], 16)) == 2
    assert "1 of 3 images have less than 16 pixels" in caplog.text
    with pytest.raises(UserError, match="at least 100 pixels"):
        data.load_images([str(photos)], 100)
