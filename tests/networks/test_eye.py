"""The distance for the eye, against the metric that it is made after."""

import io
import os

import pytest
import torch
from PIL import Image

from conftest import ROOT, distance_for_eye, pixels_of
from evaluation import metrics
from networks import errors, eye, ssimulacra2


@pytest.fixture
def photograph():
    return (
        Image.open(os.path.join(ROOT, "resources/test_images/baboon.png"))
        .convert("RGB")
        .crop((0, 0, 320, 256))
    )


def compressed(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_the_score_is_near_that_of_the_metric(quality):
    """Which takes what is beyond the borders as black, where the distance mirrors."""
    original = Image.open(os.path.join(ROOT, "resources/test_images/baboon.png")).convert("RGB")
    worse = compressed(original, quality)
    expected = metrics.ssimulacra2(worse, original)
    distance = distance_for_eye(worse, original)
    assert ssimulacra2.on_its_scale(distance) == pytest.approx(expected, abs=0.05 * (100 - expected))


def test_equal_pictures_are_at_no_distance_and_worse_ones_farther(photograph):
    original = pixels_of(photograph)
    distances = [eye.distance(pixels_of(compressed(photograph, q)), original).item() for q in (90, 60, 30, 5)]
    assert eye.distance(original, original).item() == pytest.approx(0, abs=0.05)
    assert distances == sorted(distances)


def test_pictures_of_a_batch_do_not_see_one_another(photograph):
    original = pixels_of(photograph)
    batch = torch.cat([pixels_of(compressed(photograph, q)) for q in (30, 80)])
    alone = [eye.distance(one[None], original).item() for one in batch]
    assert eye.distance(batch, original.expand_as(batch)).tolist() == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("size", [(16, 16), (8, 40), (33, 17)])
@pytest.mark.parametrize("pixels", [torch.zeros, torch.ones])
def test_small_and_flat_pictures_have_a_gradient_that_is_a_number(size, pixels):
    flat = pixels(1, 3, *size, requires_grad=True)
    errors.seen(flat, pixels(1, 3, *size)).sum().backward()
    assert flat.grad.isfinite().all()


def test_descent_brings_a_picture_nearer(photograph):
    original = pixels_of(photograph)
    picture = pixels_of(compressed(photograph, 20)).requires_grad_()
    optimizer, before = torch.optim.Adam([picture], 2e-3), eye.distance(picture, original).item()
    for _ in range(20):
        optimizer.zero_grad()
        errors.seen(picture, original).sum().backward()
        optimizer.step()
    assert eye.distance(picture, original).item() < 0.7 * before
