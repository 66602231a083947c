"""The codecs that people use, at their own qualities and at a given number of bytes, written by Pillow."""

import dataclasses
import functools
import io
import logging
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile, features

from coding.errors import UserError
from evaluation import metrics

logger = logging.getLogger(__name__)


class RivalError(UserError):
    """An image that a codec cannot take."""


@dataclasses.dataclass(frozen=True)
class Codec:
    """A codec and its settings.

    name: for people
    setting: format string of the name of a setting, of a quality and a way
    qualities: from the smallest file to the largest
    curve: those of its rate-distortion curve
    ways: to write a file at each quality, which are all tried
    write: write(image, quality, way) gives the bytes of a file
    feature: what Pillow must have been built with, if anything
    metric: "PSNR" or "SSIMULACRA2", by which the better way is chosen: that which the codec is tuned for
    """

    name: str
    setting: str
    qualities: tuple
    curve: tuple
    ways: tuple
    write: Callable[[Image.Image, float, str | None], bytes]
    feature: str | None = None
    metric: str = "PSNR"


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a codec.

    setting: its name
    data: its bytes
    psnr: in dB, of its pixels
    encode_seconds, decode_seconds: that writing and reading took
    """

    setting: str
    data: bytes
    psnr: float
    encode_seconds: float
    decode_seconds: float


def jpeg(image: Image.Image, quality: int, subsampling: str) -> bytes:
    """A JPEG file with optimised Huffman tables; subsampling: "4:4:4" or "4:2:0"."""
    # Pillow's buffer for optimised files is too small for noise at high quality.
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 6 * image.width * image.height)
    return _save(image, "JPEG", quality=quality, subsampling=subsampling, optimize=True)


def _save(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _webp(image, quality, _):
    return _save(image, "WEBP", quality=quality, method=6)


def _avif(image, quality, subsampling, tune, speed):
    options = {"speed": speed, "advanced": {"tune": tune}}
    return _save(image, "AVIF", quality=quality, subsampling=subsampling, **options)


def _jpeg2000(image, bpp, _):
    # Pillow leaves out the colour transform unless asked for it.
    ratio, colour_transform = 8 * len(image.getbands()) / bpp, int(image.mode == "RGB")
    return _save(
        image, "JPEG2000", quality_layers=[ratio], irreversible=True, no_jp2=True, mct=colour_transform
    )


def _jxl(image, quality, _):
    return _save(image, "JXL", quality=quality, effort=7)


SUBSAMPLINGS = ("4:4:4", "4:2:0")


def _avif_codec(tune, speed=6):
    """AVIF as it is tuned for the eye ("iq") or for PSNR ("psnr"); 6 is Pillow's speed."""
    name = f"AVIF (tune={tune})" if speed == 6 else f"AVIF (tune={tune}, speed {speed})"
    curve, write = (0, 5, 15, 25, 35, 45, 55, 65, 75, 85), functools.partial(_avif, tune=tune, speed=speed)
    # Quality 100 is without losses and refuses to be tuned; a slow file takes seconds.
    qualities = tuple(range(100)) if speed == 6 else curve
    metric = {"iq": "SSIMULACRA2", "psnr": "PSNR"}[tune]
    return Codec(name, "quality {}, {}", qualities, curve, SUBSAMPLINGS, write, "avif", metric)


CODECS = {
    "jpeg": Codec(
        "JPEG",
        "quality {}, {}",
        tuple(range(1, 96)),
        (1, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95),
        SUBSAMPLINGS,
        jpeg,
    ),
    "webp": Codec(
        "WebP",
        "quality {}",
        tuple(range(101)),
        (0, 5, 15, 30, 45, 60, 75, 85, 92, 96),
        (None,),
        _webp,
        "webp",
    ),
    "avif": _avif_codec("iq"),
    "avif-psnr": _avif_codec("psnr"),
    "avif-slow": _avif_codec("iq", speed=3),
    "avif-psnr-slow": _avif_codec("psnr", speed=3),
    "jpeg2000": Codec(
        "JPEG 2000",
        "{:.3g} bpp",
        tuple(0.05 * 1.04**n for n in range(120)),
        (0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.1, 1.5, 2, 3),
        (None,),
        _jpeg2000,
        "jpg_2000",
    ),
    "jxl": Codec(
        "JPEG XL",
        "quality {}",
        tuple(range(1, 100)),
        (1, 5, 10, 20, 35, 50, 65, 80, 88, 94),
        (None,),
        _jxl,
    ),
}


def load(name: str) -> Codec:
    """The Codec of a name in CODECS; raises metrics.Missing where Pillow cannot write it."""
    if name == "jxl":
        try:
            import pillow_jxl  # noqa: F401, it adds itself to Pillow
        except ImportError as error:
            raise metrics.Missing("the package pillow-jxl-plugin is not installed") from error
    feature = CODECS[name].feature
    if feature and not features.check(feature):
        raise metrics.Missing("this Pillow was built without it")
    if feature == "avif":
        try:
            CODECS[name].write(Image.new("RGB", (8, 8)), 50, "4:2:0")
        except ValueError as error:  # libaom before 3.12 has no tune=iq
            raise metrics.Missing(f"this Pillow cannot write it ({error})") from error
    return CODECS[name]


def available(names: list[str]) -> list[str]:
    """Those of the names in CODECS that Pillow can write; logs of the others what they lack."""
    found = []
    for name in dict.fromkeys(names):
        try:
            load(name)
            found.append(name)
        except metrics.Missing as error:
            logger.warning("without %s: %s", CODECS[name].name, error)
    return found


class Rival:
    """One codec on one image, of mode RGB or L; what it has written is kept. Methods raise RivalError."""

    def __init__(self, codec: Codec, image: Image.Image):
        self.codec, self.image = codec, image
        self._files, self._values = {}, {}

    def file(self, quality: float, way: str | None) -> File:
        """The File of a quality and a way of the codec."""
        if (quality, way) not in self._files:
            try:
                self._files[quality, way] = self._write(quality, way)
            except (OSError, ValueError, RuntimeError) as error:  # what Pillow and its plugins raise
                raise RivalError(f"{self.codec.name} cannot take it ({error})") from error
        return self._files[quality, way]

    def _write(self, quality, way):
        began = time.perf_counter()
        data = self.codec.write(self.image, quality, way)
        written = time.perf_counter()
        decoded = self.decode(data)
        read = time.perf_counter()
        setting, psnr = self.codec.setting.format(quality, way), metrics.psnr(decoded, self.image)
        return File(setting, data, psnr, written - began, read - written)

    def decode(self, data: bytes) -> Image.Image:
        """The picture in a file, in the mode of the image."""
        return Image.open(io.BytesIO(data)).convert(self.image.mode)

    def curve(self) -> list[File]:
        """The File of each quality of the codec's curve, and of each way."""
        return [self.file(quality, way) for way in self.codec.ways for quality in self.codec.curve]

    def _around(self, size, way):
        """Files of the two qualities around `size` bytes, or of the one at the end that it lies beyond."""

        def at(index):
            return self.file(self.codec.qualities[index], way)

        low, high = 0, len(self.codec.qualities) - 1  # file size grows with quality
        if size <= len(at(low).data):
            return [at(low)]
        if size >= len(at(high).data):
            return [at(high)]
        while high - low > 1:
            middle = (low + high) // 2
            if len(at(middle).data) <= size:
                low = middle
            else:
                high = middle
        return [at(low), at(high)]

    def value(self, file: File, metric: str) -> float | None:
        """A metric of one of its files, of metrics.ALWAYS or OPTIONAL."""
        if metric == "PSNR":
            return file.psnr
        if (file, metric) not in self._values:
            self._values[file, metric] = metrics.measure(metric, self.decode(file.data), self.image)
        return self._values[file, metric]

    def nearest(self, size: int) -> File:
        """The File nearest to `size` bytes, of the way that is better by the codec's metric.

        A way whose nearest file is more than a tenth off has no part in it, if another's is nearer.
        """

        def off(file):
            return abs(len(file.data) - size)

        nearest = [min(self._around(size, way), key=off) for way in self.codec.ways]
        near = max(min(map(off, nearest)), size / 10)
        nearest = [file for file in nearest if off(file) <= near]
        # By PSNR where the image is too small for the other.
        metric = "PSNR" if self.value(nearest[0], self.codec.metric) is None else self.codec.metric
        return max(nearest, key=lambda file: self.value(file, metric))

    def psnr_at(self, size: int) -> float | None:
        """PSNR in dB at `size` bytes, or None where such a file is not to be had.

        The better of the codec's ways, each interpolated between the two qualities around `size`.
        """
        values = []
        for way in self.codec.ways:
            files = self._around(size, way)
            sizes = [len(file.data) for file in files]
            if sizes[0] <= size <= sizes[-1]:
                values.append(float(np.interp(size, sizes, [file.psnr for file in files])))
        return max(values, default=None)
