"""How good a decoded picture is, and how good other codecs would be at the same size."""
import functools
import io
import math

import numpy as np
from PIL import Image, ImageFile


def psnr(image, reference):
    """PSNR in dB between two 8-bit Pillow images of one size and mode; infinite if they are equal."""
    difference = np.asarray(image, np.float64) - np.asarray(reference, np.float64)
    mse = np.mean(difference**2)
    return 10 * math.log10(255**2 / mse) if mse else math.inf


def jpeg(image, quality, subsampling):
    """Bytes of a JPEG file with optimised Huffman tables; subsampling is "4:4:4" or "4:2:0"."""
    file = io.BytesIO()
    # Pillow's buffer for optimised files is too small for noise at high quality.
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 6 * image.width * image.height)
    image.save(file, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
    return file.getvalue()


def _webp(image, quality):
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=6)
    return file.getvalue()


def _avif(image, quality, subsampling):
    file = io.BytesIO()
    image.save(file, "AVIF", quality=quality, subsampling=subsampling)
    return file.getvalue()


# Of each codec its highest quality, and ways to write an image at a quality.
CODECS = {
    "JPEG": (95, [lambda image, quality, s=s: jpeg(image, quality, s) for s in ("4:4:4", "4:2:0")]),
    "WebP": (100, [_webp]),
    "AVIF": (100, [lambda image, quality, s=s: _avif(image, quality, s) for s in ("4:4:4", "4:2:0")]),
}


def psnr_at(codec, image, size):
    """PSNR in dB of a codec in CODECS at `size` bytes, or None where it cannot be as small (or need not be as large).

    The better of its ways, each interpolated between the two qualities around `size`.
    """
    best = None
    highest, ways = CODECS[codec]
    for way in ways:
        files = functools.lru_cache(None)(functools.partial(way, image))
        low, high = 1, highest  # file size grows with quality
        if not len(files(low)) <= size <= len(files(high)):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if len(files(middle)) <= size:
                low = middle
            else:
                high = middle
        values = [psnr(Image.open(io.BytesIO(files(quality))), image) for quality in (low, high)]
        value = float(np.interp(size, [len(files(low)), len(files(high))], values))
        best = value if best is None else max(best, value)
    return best
