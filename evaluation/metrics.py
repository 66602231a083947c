"""How good a decoded picture is, and how many bits one codec saves against another."""

import functools
import logging
import math
import os
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image

from evaluation import butteraugli

SMALLEST_SIDE = 161  # for MS-SSIM, whose window of 11 pixels must fit after four halvings
Measure = Callable[[Image.Image, Image.Image], float | None]

logger = logging.getLogger(__name__)


class Missing(Exception):
    """Something optional is not installed; the message is one line that says what."""


def psnr(image: Image.Image, reference: Image.Image) -> float:
    """PSNR in dB between two 8-bit Pillow images of one size and mode; infinite if they are equal."""
    difference = np.asarray(image, np.float64) - np.asarray(reference, np.float64)
    mse = np.mean(difference**2)
    return 10 * math.log10(255**2 / mse) if mse else math.inf


def ms_ssim(image: Image.Image, reference: Image.Image) -> float | None:
    """MS-SSIM, at most 1, between two 8-bit Pillow images of one size and mode, a mean of channels.

    Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality assessment". None if
    a side is below SMALLEST_SIDE.
    """
    if min(image.size) < SMALLEST_SIDE:
        return None
    import pytorch_msssim

    return pytorch_msssim.ms_ssim(_tensor(image), _tensor(reference), data_range=255).item()


def ssimulacra2(image: Image.Image, reference: Image.Image) -> float | None:
    """SSIMULACRA2, at most 100, between two 8-bit RGB or gray Pillow images of one size.

    See `networks/ssimulacra2.py`. None if a side is below its SMALLEST_SIDE.
    """
    from networks import ssimulacra2

    if min(image.size) < ssimulacra2.SMALLEST_SIDE:
        return None
    return ssimulacra2.score(*(np.asarray(picture.convert("RGB")) for picture in (image, reference)))


def load_butteraugli() -> Measure:
    """`butteraugli.distance`; raises Missing if its program is not there, or does not work."""
    if butteraugli.path() is None:
        raise Missing(f"the program {butteraugli.PROGRAM} is not on the PATH")
    if not butteraugli.works():
        raise Missing(f"the program {butteraugli.PROGRAM} does not work")
    return butteraugli.distance


@functools.cache
def load_lpips() -> Measure:
    """A function that gives the LPIPS distance, 0 or more, between two RGB or gray Pillow images of one size.

    Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", with AlexNet.
    Nothing is downloaded: raises Missing if the package or the AlexNet weights of torchvision are not there.
    """
    try:
        import lpips
    except ImportError as error:
        raise Missing("the package lpips is not installed") from error
    import torch
    import torchvision

    name = os.path.basename(torchvision.models.AlexNet_Weights.DEFAULT.url)
    path = os.path.join(torch.hub.get_dir(), "checkpoints", name)
    if not os.path.exists(path):
        raise Missing(f"the weights {path} are not there")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision in an old way
        network = lpips.LPIPS(net="alex", verbose=False).eval()

    @torch.inference_mode()
    def distance(image, reference):
        pair = [_tensor(picture.convert("RGB")) / 127.5 - 1 for picture in (image, reference)]
        return network(*pair).item()

    return distance


ALWAYS = {"PSNR": psnr, "MS-SSIM": ms_ssim, "SSIMULACRA2": ssimulacra2}
OPTIONAL = {"Butteraugli": load_butteraugli, "LPIPS": load_lpips}


def installed() -> list[str]:
    """Those of OPTIONAL that can be measured here; logs of the others what they lack."""
    found = []
    for name, load in OPTIONAL.items():
        try:
            load()
            found.append(name)
        except Missing as error:
            logger.warning("without %s: %s", name, error)
    return found


def measure(name: str, image: Image.Image, reference: Image.Image) -> float | None:
    """One of ALWAYS or OPTIONAL by its name, or None where it is not known of the image."""
    function = ALWAYS[name] if name in ALWAYS else OPTIONAL[name]()
    return function(image, reference)


def in_decibels(ms_ssim: float) -> float:
    """MS-SSIM as -10 log10(1 - MS-SSIM): on its own scale all good pictures are near 1."""
    return -10 * math.log10(1 - ms_ssim) if ms_ssim < 1 else math.inf


# Of the metrics that have curves: the scale that these are drawn and compared on, which rises with quality.
SCALES = {
    "PSNR": lambda value: value,
    "MS-SSIM": in_decibels,
    "SSIMULACRA2": lambda value: value,
    "Butteraugli": lambda value: -value,
}


def bd_rate(anchor: list, test: list, between: tuple[float, float] | None = None) -> float | None:
    """Bytes that `test` needs more than `anchor` for the same quality, in percent, a mean over qualities.

    anchor, test: curves as lists of (rate, quality), both rising
    between: the lowest and the highest quality that count, or None for those of `test`

    It is the difference of the logarithms of the rates, by monotone cubics (pchip) over the quality, averaged
    over the part of `between` that both curves cover. None with less than four points, or where that part is
    less than half. Bjontegaard 2001, VCEG-M33.
    """
    if min(len(anchor), len(test)) < 4:
        return None
    low, high = between or (test[0][1], test[-1][1])
    bottom, top = max(low, anchor[0][1], test[0][1]), min(high, anchor[-1][1], test[-1][1])
    if top - bottom < 0.5 * (high - low):
        return None
    from scipy.interpolate import PchipInterpolator

    whole = []
    for rates, qualities in (zip(*anchor), zip(*test)):
        whole.append(PchipInterpolator(qualities, np.log(rates)).integrate(bottom, top))
    return 100 * math.expm1((whole[1] - whole[0]) / (top - bottom))


def quality_at(curve: list, rate: float) -> float | None:
    """The quality of a codec at a rate, by a monotone cubic over the logarithm of the rate, as of `bd_rate`.

    curve: (rate, quality), both rising; None outside of it
    """
    if len(curve) < 2 or not curve[0][0] <= rate <= curve[-1][0]:
        return None
    from scipy.interpolate import PchipInterpolator

    rates, qualities = zip(*curve)
    return float(PchipInterpolator(np.log(rates), qualities)(math.log(rate)))


def _tensor(image):
    """Pixels float32 (1, C, H, W) in [0, 255]."""
    import torch

    pixels = np.asarray(image, np.float32)
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)[None].copy())
