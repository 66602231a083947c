"""The codecs that people use, at their own qualities and at a given number of bytes, written by Pillow."""

import dataclasses
import io
import time

import numpy as np
from PIL import Image, ImageFile, features

import metrics

ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
)  # what Pillow and its plugins raise for an image that a codec cannot take


@dataclasses.dataclass(frozen=True)
class Codec:
    """A codec's settings: qualities from the smallest file to the largest, those of its rate-distortion curve, and
    ways of each to be tried; write(image, quality, way) gives the bytes of a file, and setting names the two."""

    name: str
    setting: str
    qualities: tuple
    curve: tuple
    ways: tuple
    write: callable


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a codec, its PSNR in dB, and the seconds that writing and reading took."""

    setting: str
    data: bytes
    psnr: float
    encode_seconds: float
    decode_seconds: float


def jpeg(image, quality, subsampling):
    """Bytes of a JPEG file with optimised Huffman tables; subsampling is "4:4:4" or "4:2:0"."""
    # Pillow's buffer for optimised files is too small for noise at high quality.
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 6 * image.width * image.height)
    return _save(image, "JPEG", quality=quality, subsampling=subsampling, optimize=True)


def _save(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _webp(image, quality, _):
    return _save(image, "WEBP", quality=quality, method=6)


def _avif(image, quality, subsampling):
    return _save(image, "AVIF", quality=quality, subsampling=subsampling)


def _jpeg2000(image, bpp, _):
    # Pillow leaves out the colour transform unless asked for it.
    return _save(
        image,
        "JPEG2000",
        quality_layers=[8 * len(image.getbands()) / bpp],
        irreversible=True,
        no_jp2=True,
        mct=int(image.mode == "RGB"),
    )


def _jxl(image, quality, _):
    return _save(image, "JXL", quality=quality)


CODECS = {
    "jpeg": Codec(
        "JPEG",
        "quality {}, {}",
        range(1, 96),
        (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95),
        ("4:4:4", "4:2:0"),
        jpeg,
    ),
    "webp": Codec("WebP", "quality {}", range(101), (0, 5, 15, 30, 45, 60, 75, 85, 92, 96), (None,), _webp),
    "avif": Codec(
        "AVIF", "quality {}, {}", range(101), (5, 15, 25, 35, 45, 55, 65, 75, 85), ("4:4:4", "4:2:0"), _avif
    ),
    "jpeg2000": Codec(
        "JPEG 2000",
        "{:.3g} bpp",
        tuple(0.05 * 1.04**n for n in range(120)),
        (0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.1, 1.5, 2, 3),
        (None,),
        _jpeg2000,
    ),
    "jxl": Codec(
        "JPEG XL", "quality {}", range(1, 100), (1, 5, 10, 20, 35, 50, 65, 80, 88, 94), (None,), _jxl
    ),
}


def load(name):
    """The Codec of a name in CODECS; raises metrics.Missing where Pillow cannot write it."""
    if name == "jxl":
        try:
            import pillow_jxl  # it adds itself to Pillow
        except ImportError as error:
            raise metrics.Missing("the package pillow-jxl-plugin is not installed") from error
    feature = {"webp": "webp", "avif": "avif", "jpeg2000": "jpg_2000"}.get(name)
    if feature and not features.check(feature):
        raise metrics.Missing("this Pillow was built without it")
    return CODECS[name]


class Rival:
    """One codec on one image, of mode RGB or L; what it has written is kept. Methods raise ERRORS."""

    def __init__(self, codec, image):
        self.codec, self.image = codec, image
        self._files = {}

    def file(self, quality, way):
        """The File of a quality and a way of the codec."""
        if (quality, way) not in self._files:
            began = time.perf_counter()
            data = self.codec.write(self.image, quality, way)
            written = time.perf_counter()
            decoded = self.decode(data)
            read = time.perf_counter()
            self._files[quality, way] = File(
                self.codec.setting.format(quality, way),
                data,
                metrics.psnr(decoded, self.image),
                written - began,
                read - written,
            )
        return self._files[quality, way]

    def decode(self, data):
        """The picture in a file, in the mode of the image."""
        return Image.open(io.BytesIO(data)).convert(self.image.mode)

    def curve(self):
        """The File of each quality of the codec's curve, and of each way."""
        return [self.file(quality, way) for way in self.codec.ways for quality in self.codec.curve]

    def _around(self, size, way):
        """Files of the two neighbouring qualities around `size` bytes, or the one at the end that it lies beyond."""

        def at(index):
            return self.file(self.codec.qualities[index], way)

        low, high = 0, len(self.codec.qualities) - 1  # file size grows with quality
        if size <= len(at(low).data):
            return [at(low)]
        if size >= len(at(high).data):
            return [at(high)]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if len(at(middle).data) <= size else (low, middle)
        return [at(low), at(high)]

    def nearest(self, size):
        """The File nearest to `size` bytes, of the better way."""
        files = [
            min(self._around(size, way), key=lambda file: abs(len(file.data) - size))
            for way in self.codec.ways
        ]
        return max(files, key=lambda file: file.psnr)

    def psnr_at(self, size):
        """PSNR in dB at `size` bytes, or None where the codec cannot be as small (or need not be as large).

        The better of its ways, each interpolated between the two qualities around `size`.
        """
        values = []
        for files in (self._around(size, way) for way in self.codec.ways):
            sizes = [len(file.data) for file in files]
            if sizes[0] <= size <= sizes[-1]:
                values.append(float(np.interp(size, sizes, [file.psnr for file in files])))
        return max(values, default=None)
