"""The codecs that ours is compared with."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from evaluation import metrics, rivals


@pytest.fixture(scope="module")
def image():
    """RGB, 96 pixels wide and 64 high: colours that change faster than 4:2:0 follows, on a smooth ground."""
    y, x = np.mgrid[0:64, 0:96]
    rgb = np.stack([x * 2, y * 3, 200 - x], 2) + np.random.default_rng(0).normal(0, 10, (64, 96, 3))
    rgb[16:48, 16:48] = np.where((x[16:48, 16:48] % 2)[:, :, None], (250, 20, 20), (20, 20, 250))
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


@pytest.fixture(params=[name for name in rivals.CODECS if not name.endswith("slow")])
def codec(request):
    try:
        return rivals.load(request.param)
    except metrics.Missing as error:
        pytest.skip(f"{request.param}: {error}")


def test_files_are_what_pillow_reads(codec, image):
    for picture in image, image.convert("L"):
        rival = rivals.Rival(codec, picture)
        for file in rival.curve():
            decoded = rival.decode(file.data)
            assert decoded.size == picture.size and decoded.mode == picture.mode
            assert np.array_equal(decoded, Image.open(io.BytesIO(file.data)).convert(picture.mode))
            assert file.psnr == metrics.psnr(decoded, picture) > 10


def test_a_curve_spans_what_people_use(codec, image):
    steady = 0.9 if "tune=psnr" in codec.name else 0.98  # AVIF's own choices weigh more in so small a picture
    files = rivals.Rival(codec, image).curve()
    assert len({file.setting for file in files}) == len(files)
    for way in codec.ways:
        sizes = [len(file.data) for file in files if way is None or file.setting.endswith(way)]
        assert (
            all(later > steady * earlier for earlier, later in zip(sizes, sizes[1:]))
            and sizes[-1] > 2 * sizes[0]
        )


def test_the_nearest_file_is_the_nearest(codec, image):
    rival = rivals.Rival(codec, image)
    files = {way: [rival.file(quality, way) for quality in codec.qualities] for way in codec.ways}
    for size in 1, 1500, 3000, 10**6:
        nearest = [min(each, key=lambda file: abs(len(file.data) - size)) for each in files.values()]
        found = rival.nearest(size)
        # Sizes of AVIF do not quite rise with quality, so that halving may miss by some bytes.
        assert min(abs(len(found.data) - len(file.data)) for file in nearest) <= 0.02 * len(found.data)
        off = [abs(len(file.data) - size) for file in nearest]
        near = [file for file, by in zip(nearest, off) if by <= max(min(off), size / 10)]
        assert found.psnr > max(file.psnr for file in near) - 0.2


def test_psnr_at_a_size_is_between_its_neighbours(codec, image):
    rival = rivals.Rival(codec, image)
    assert rival.psnr_at(1) is None and rival.psnr_at(10**7) is None
    file = rival.file(codec.qualities[len(codec.qualities) // 2], codec.ways[0])
    assert file.psnr - 1e-9 <= rival.psnr_at(len(file.data)) < rival.psnr_at(len(file.data) + 500)


def test_each_codec_is_at_its_best_by_what_it_is_tuned_for(image):
    image = image.resize((192, 128))
    for name, metric in ("avif", "SSIMULACRA2"), ("avif-psnr", "PSNR"):
        rival = rivals.Rival(rivals.load(name), image)
        for size in 1500, 4000:
            found = rival.nearest(size)
            for way in rival.codec.ways:
                nearest = min(rival._around(size, way), key=lambda file: abs(len(file.data) - size))
                if abs(len(nearest.data) - size) <= size / 10:
                    assert rival.value(found, metric) >= rival.value(nearest, metric)


def test_slow_avif_is_the_same_at_another_speed(image):
    for name in "avif", "avif-psnr":
        usual, slow = rivals.load(name), rivals.load(f"{name}-slow")
        assert slow.name == usual.name.replace(")", ", speed 3)") and slow.curve == usual.curve
        assert slow.qualities == slow.curve and set(slow.curve) < set(usual.qualities)
        files = [rivals.Rival(codec, image).file(45, "4:4:4") for codec in (usual, slow)]
        assert files[0].data != files[1].data and files[0].psnr == pytest.approx(files[1].psnr, abs=1)


def test_jpeg_is_as_small_as_it_can_be(image):
    plain = io.BytesIO()
    image.save(plain, "JPEG", quality=50, subsampling="4:2:0")
    optimised = rivals.jpeg(image, 50, "4:2:0")
    assert len(optimised) < len(plain.getvalue())
    assert np.array_equal(Image.open(io.BytesIO(optimised)), Image.open(plain))


def test_the_better_subsampling_is_taken(image):
    rival = rivals.Rival(rivals.load("jpeg"), image)
    assert rival.nearest(4000).setting.endswith("4:4:4")  # the red and blue lines
    smallest = len(rival.file(1, "4:2:0").data)
    assert len(rival.nearest(smallest - 9).data) == smallest < 0.9 * len(rival.file(1, "4:4:4").data)
    gray = image.convert("L").convert("RGB")
    assert rivals.Rival(rivals.load("jpeg"), gray).nearest(1500).setting.endswith("4:2:0")


def test_noise_at_high_quality_fits_the_buffer():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8))
    assert len(rivals.jpeg(noise, 95, "4:4:4")) > 700 * 700


def test_what_is_not_installed_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(metrics.Missing, match="pillow-jxl-plugin is not installed"):
        rivals.load("jxl")
    monkeypatch.setattr(rivals.features, "check", lambda feature: feature != "avif")
    assert rivals.load("webp").name == "WebP"
    with pytest.raises(metrics.Missing):
        rivals.load("avif")
    monkeypatch.undo()

    def refuse(*_, **__):
        raise ValueError("Invalid codec-specific option")

    monkeypatch.setattr(Image.Image, "save", refuse)
    with pytest.raises(metrics.Missing, match="cannot write it"):
        rivals.load("avif")


def test_an_image_that_a_codec_cannot_take_raises_one_of_the_errors():
    with pytest.raises(rivals.RivalError):
        rivals.Rival(rivals.load("webp"), Image.new("RGB", (16_400, 1))).curve()
