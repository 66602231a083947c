"""How good a decoded picture is, and how good JPEG would be at the same size."""
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


def jpeg_psnr_at(image, size):
    """PSNR in dB of JPEG at `size` bytes, or None where JPEG cannot be as small (or need not be as large).

    The better of 4:4:4 and 4:2:0, each interpolated between the two qualities around `size`.
    """
    best = None
    for subsampling in "4:4:4", "4:2:0":
        low, high = 1, 95  # qualities; file size grows with quality
        if not len(jpeg(image, low, subsampling)) <= size <= len(jpeg(image, high, subsampling)):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if len(jpeg(image, middle, subsampling)) <= size:
                low = middle
            else:
                high = middle
        files = [jpeg(image, quality, subsampling) for quality in (low, high)]
        sizes = [len(file) for file in files]
        values = [psnr(Image.open(io.BytesIO(file)), image) for file in files]
        value = float(np.interp(size, sizes, values))
        best = value if best is None else max(best, value)
    return best
