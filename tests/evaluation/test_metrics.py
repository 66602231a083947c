"""The metrics against values found in another way."""

import math
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation import butteraugli, metrics


def picture(pixels):
    return Image.fromarray(np.asarray(pixels).clip(0, 255).round().astype(np.uint8))


@pytest.fixture
def noisy_pair():
    """A smooth RGB picture, 192 pixels wide and 176 high, and the same with noise and less contrast."""
    y, x = np.mgrid[0:176, 0:192]
    smooth = np.stack([128 + 100 * np.sin(x / 9), 128 + 90 * np.cos(y / 7), x + y * 0.3], 2)
    return picture(smooth), picture(0.9 * smooth + np.random.default_rng(0).normal(0, 12, smooth.shape))


def test_psnr_by_hand():
    reference = picture([[[10, 20, 30], [0, 0, 0]]])
    image = picture([[[13, 20, 26], [255, 0, 0]]])
    mse = (3**2 + 4**2 + 255**2) / 6
    assert (
        metrics.psnr(image, reference)
        == metrics.psnr(reference, image)
        == pytest.approx(10 * math.log10(255**2 / mse))
    )
    assert metrics.psnr(image, image) == math.inf


def direct_ms_ssim(a, b):
    """MS-SSIM of float arrays (H, W) as the paper defines it, with plain sums in NumPy."""
    offsets = np.arange(-5, 6)
    gauss = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    gauss /= gauss.sum()

    def blur(x):
        return (np.lib.stride_tricks.sliding_window_view(x, (11, 11)) * gauss).sum((2, 3))

    result = 1
    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mean_a, mean_b = blur(a), blur(b)
        variance_a, variance_b, covariance = (
            blur(a * a) - mean_a**2,
            blur(b * b) - mean_b**2,
            blur(a * b) - mean_a * mean_b,
        )
        structure = (2 * covariance + (0.03 * 255) ** 2) / (variance_a + variance_b + (0.03 * 255) ** 2)
        luminance = (2 * mean_a * mean_b + (0.01 * 255) ** 2) / (mean_a**2 + mean_b**2 + (0.01 * 255) ** 2)
        result *= (structure * luminance if scale == 4 else structure).mean() ** exponent
        if scale < 4:
            a, b = ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4 for x in (a, b))
    return result


def test_ms_ssim_is_that_of_its_definition(noisy_pair):
    reference, image = noisy_pair
    channels = [
        direct_ms_ssim(*(np.asarray(x, np.float64)[:, :, c] for x in (image, reference))) for c in range(3)
    ]
    assert metrics.ms_ssim(image, reference) == pytest.approx(np.mean(channels), abs=1e-5)
    assert 0.5 < np.mean(channels) < 0.98
    gray = [x.getchannel("G") for x in (image, reference)]
    assert metrics.ms_ssim(*gray) == pytest.approx(channels[1], abs=1e-5)
    assert metrics.ms_ssim(reference, reference) == pytest.approx(1)


def test_ms_ssim_is_not_known_of_small_images():
    for size, known in [((161, 161), True), ((160, 400), False), ((400, 160), False), ((1, 1), False)]:
        assert (metrics.ms_ssim(Image.new("RGB", size), Image.new("RGB", size)) is not None) == known


def test_ssimulacra2_is_not_known_of_small_images():
    for size, known in [((113, 113), True), ((112, 400), False), ((400, 112), False), ((1, 1), False)]:
        for mode in "RGB", "L":
            value = metrics.ssimulacra2(Image.new(mode, size), Image.new(mode, size))
            assert value == (100 if known else None)


def fake_butteraugli(monkeypatch, folder, line):
    """A program of its name that finds two pictures, and prints a line."""
    program = folder / "butteraugli_main"
    program.write_text(f"#!/bin/sh\n[ -s $1 ] && [ -s $2 ] && echo 7.5 && echo '{line}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_butteraugli_is_what_its_program_prints(monkeypatch, tmp_path, noisy_pair):
    fake_butteraugli(monkeypatch, tmp_path, "3-norm: 1.25")
    assert metrics.measure("Butteraugli", *noisy_pair) == 1.25
    assert metrics.measure("Butteraugli", *(x.crop((0, 0, 7, 9)) for x in noisy_pair)) is None
    fake_butteraugli(monkeypatch, tmp_path, "no norm")
    assert metrics.measure("Butteraugli", *noisy_pair) is None


def test_butteraugli_grows_with_the_distance(noisy_pair):
    if butteraugli.path() is None:
        pytest.skip("its program is not installed")
    reference, image = noisy_pair
    near = Image.blend(reference, image, 0.3)
    assert 0 == butteraugli.distance(reference, reference) < butteraugli.distance(near, reference)
    assert butteraugli.distance(near, reference) < butteraugli.distance(image, reference)


def test_scales_rise_with_quality():
    for metric, (worse, better) in {"PSNR": (30, 31), "MS-SSIM": (0.9, 0.99), "Butteraugli": (2, 1)}.items():
        assert metrics.SCALES[metric](worse) < metrics.SCALES[metric](better)
    assert metrics.in_decibels(0.99) == pytest.approx(20) and metrics.in_decibels(1) == math.inf


def curve(rate, qualities):
    return [(rate(quality), quality) for quality in qualities]


def test_bd_rate_of_half_the_bytes_is_minus_50():
    anchor = curve(lambda quality: 2 ** (quality / 5), range(25, 40, 3))
    assert metrics.bd_rate(anchor, [(rate / 2, quality) for rate, quality in anchor]) == pytest.approx(-50)
    assert metrics.bd_rate([(rate / 2, quality) for rate, quality in anchor], anchor) == pytest.approx(100)


def test_bd_rate_of_lines_is_the_closed_form():
    # log10 of the rates is linear, so the mean difference is that in the middle of what they share, 30 to 36.
    anchor = curve(lambda quality: 10 ** (0.05 * quality - 2), (28, 30, 33, 36))
    test = curve(lambda quality: 10 ** (0.06 * quality - 2.35), (30, 32, 34, 38))
    assert metrics.bd_rate(anchor, test) == pytest.approx(100 * (10 ** (0.01 * 33 - 0.35) - 1))


def test_bd_rate_is_the_integral_between_the_curves():
    def anchor_log(quality):
        return 0.003 * (quality - 20) ** 2 - 1

    def test_log(quality):
        return 0.0025 * (quality - 19) ** 2 - 1

    dense = np.linspace(26, 38, 10_001)
    integral = np.mean(test_log(dense) - anchor_log(dense))
    anchor = curve(lambda quality: 10 ** anchor_log(quality), np.arange(24.5, 38.1, 1.5))
    test = curve(lambda quality: 10 ** test_log(quality), np.arange(26, 41.1, 1.5))
    assert metrics.bd_rate(anchor, test) == pytest.approx(100 * (10**integral - 1), abs=0.1)


def test_a_bd_rate_between_two_qualities_is_that_of_these():
    """Nine tenths of the bytes from 52.5 to 62.5 alone: a cubic feels it up to the next point but one."""
    anchor = curve(lambda quality: 2 ** (quality / 5), np.arange(25, 91, 2.5))
    test = [(rate * (0.9 if 52.5 <= quality <= 62.5 else 1), quality) for rate, quality in anchor]
    for between, percent in {(30, 47.5): 0, (55, 60): -10, (67.5, 75): 0, (75, 85): 0}.items():
        assert metrics.bd_rate(anchor, test, between) == pytest.approx(percent, abs=1e-9)
    assert -10 < metrics.bd_rate(anchor, test, (50, 65)) < -6


def test_a_bd_rate_is_known_where_the_curves_share_half_of_what_is_asked_for():
    anchor = curve(lambda quality: 2 ** (quality / 5), range(20, 61, 10))
    test = [(0.9 * rate, quality) for rate, quality in anchor]
    assert metrics.bd_rate(anchor, test, (50, 70)) == pytest.approx(-10)
    assert metrics.bd_rate(anchor, test, (50, 71)) is metrics.bd_rate(anchor, test, (60, 70)) is None
    assert metrics.bd_rate(anchor[-3:], test, (40, 60)) is None


def test_bd_rate_is_not_known_of_short_or_distant_curves():
    whole = curve(lambda quality: 2 ** (quality / 5), range(25, 45, 3))
    assert metrics.bd_rate(whole[:3], whole) is metrics.bd_rate(whole, whole[:3]) is None
    assert metrics.bd_rate(whole, [(rate, quality + 16) for rate, quality in whole]) is None
    assert metrics.bd_rate(whole, []) is None


def test_lpips_says_what_is_missing(monkeypatch, tmp_path):
    metrics.load_lpips.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(metrics.Missing, match="lpips is not installed"):
        metrics.load_lpips()
    monkeypatch.undo()
    pytest.importorskip("lpips")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(metrics.Missing, match=r"weights .*alexnet.* are not there"):
        metrics.load_lpips()


def test_lpips_grows_with_the_distance(monkeypatch, tmp_path, noisy_pair):
    pytest.importorskip("lpips")
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # weights of its own: the shipped ones are on the network
    torch.manual_seed(0)
    name = os.path.basename(torchvision.models.AlexNet_Weights.DEFAULT.url)
    os.makedirs(tmp_path / "hub/checkpoints")
    torch.save(torchvision.models.alexnet().state_dict(), tmp_path / "hub/checkpoints" / name)
    metrics.load_lpips.cache_clear()
    lpips = metrics.load_lpips()
    reference, image = noisy_pair
    assert (
        lpips(reference, reference)
        == 0
        < lpips(Image.blend(reference, image, 0.3), reference)
        < lpips(image, reference)
    )
    metrics.load_lpips.cache_clear()


def test_psnr_does_not_wrap_round():
    dark, light = Image.new("L", (2, 2), 10), Image.new("L", (2, 2), 12)
    assert metrics.psnr(dark, light) == metrics.psnr(light, dark) == pytest.approx(10 * np.log10(255**2 / 4))
