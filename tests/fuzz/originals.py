"""Whole files to damage: golden files and models, and small images of each format that Pillow writes."""

import functools
import glob
import io
import itertools
import os
import warnings

import numpy as np
from PIL import Image

from coding import modes

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden")
# Pillow's names of formats that it writes and reads, and the options of files to make.
FORMATS = {
    "PNG": ({}, {"interlace": 1}, {"exif": True, "icc_profile": b"a profile"}),
    "JPEG": ({}, {"progressive": True}, {"exif": True}, {"restart_marker_blocks": 2}),
    "GIF": ({}, {"interlace": 1}, {"save_all": True, "append": True, "transparency": 0}),
    "TIFF": (
        {},
        *({"compression": name} for name in ("packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4")),
    ),
    "WEBP": ({}, {"lossless": True}, {"save_all": True, "append": True}, {"exif": True}),
    "BMP": ({},),
    "PPM": ({},),
    "AVIF": ({"speed": 10}, {"speed": 10, "exif": True}),
    "JPEG2000": ({},),
    "TGA": ({}, {"compression": "tga_rle"}),
    **dict.fromkeys(("DDS", "ICNS", "ICO", "IM", "MSP", "PCX", "QOI", "SGI", "SPIDER", "XBM"), ({},)),
}
ONLY = {"jpeg": ("L", "RGB", "CMYK"), "group4": ("1",)}  # modes that a compression of TIFF holds
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F")


def _read(pattern):
    contents = []
    for path in sorted(glob.glob(os.path.join(GOLDEN, pattern))):
        with open(path, "rb") as file:
            contents.append(file.read())
    return contents


@functools.cache
def encoded() -> list[bytes]:
    """The golden files."""
    return _read("*.encoded")


@functools.cache
def models() -> list[bytes]:
    """The golden encoders and decoders."""
    return _read("*.model")


def encoded_of(mode: modes.Mode) -> bytes:
    """A golden file of a mode."""
    return _read(f"v1_{mode.name}_rgb.encoded")[0]


@functools.cache
def images() -> dict[str, list[bytes]]:
    """Image files by Pillow's name of their format, of all modes that it holds."""
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some formats are on their way out
        files = {name: list(_files(name, options)) for name, options in FORMATS.items() if name in Image.SAVE}
    return {name: contents for name, contents in files.items() if contents}


def _files(name, options):
    for mode, chosen in itertools.product(MODES, options):
        if mode in ONLY.get(chosen.get("compression"), MODES):
            file = io.BytesIO()
            try:
                image(mode).save(file, name, **_complete(chosen, mode))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, SystemError):
                continue  # the format does not hold the mode, or not with these options
            yield file.getvalue()


def image(mode: str) -> Image.Image:
    """A small image of a mode of Pillow."""
    y, x = np.mgrid[0:32, 0:32]
    colours = Image.fromarray(np.stack([8 * x, 8 * y, 4 * (x + y), 255 - 4 * x], 2).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray((x * 2000).astype(np.uint16))
    if mode in ("I", "F", "PA", "LAB"):  # which are made of gray alone
        colours = colours.convert("RGB").convert("L")
    return colours.convert(mode)


def _complete(options, mode):
    """Options for Pillow, with what cannot be written above."""
    options = dict(options)
    if options.pop("append", False):
        options["append_images"] = [image(mode).rotate(90)]
    if options.pop("exif", False):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "a text"
        options["exif"] = exif
    return options
