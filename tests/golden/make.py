"""Write the golden files of a mode: PYTHONPATH=.:tests python3 tests/golden/make.py variable

They hold version 1 of the format: a change that makes one of them fail is a change of the format. What is
there stays as it is; delete it to have it made anew, with the small models that files need.
"""

import os
import sys

import numpy as np
from PIL import Image

import codec
from coding import modes
from conftest import ROOT, build_pair, build_transforms, golden_form, golden_model, tuned
from conftest import pictures as images
from engines import export

HERE = os.path.dirname(os.path.abspath(__file__))


def pictures(mode):
    """Names, images and options that use every field of the header and both ends of the rates."""
    lena = Image.open(os.path.join(ROOT, "resources", "test_images", "lena.png"))
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:56]
    rgb = np.stack([x * 4, y * 6, (x + y) * 2], 2).astype(np.uint8)
    yield "rgb", Image.fromarray(rgb), {}
    yield "gray", Image.fromarray(rgb[:, :, 1]), {}
    yield "pixel", Image.fromarray(rgb[9:10, 9:10]), {}
    noise = Image.fromarray(random.integers(0, 256, (33, 17, 4), np.uint8))  # escapes, and alpha
    noise.info["icc_profile"] = b"a colour profile"
    yield "noise", noise, {}
    if not modes.MODES[mode].is_fixed:
        yield "exact", noise, {"lossless": True}
        yield "lowest", Image.fromarray(rgb), {"quality": 1}
        yield "highest", lena.crop((250, 250, 330, 300)), {"quality": 10}  # with a detail layer
        yield "eye", Image.fromarray(rgb), {"tune": "eye"}
        yield "eyehighest", lena.crop((250, 250, 330, 300)), {"quality": 10, "tune": "eye"}


def pair(mode):
    """The small encoder and decoder, made where they are not there."""
    if not os.path.exists(golden_model(mode, "decoder")):
        files = export.finish(*build_transforms(mode), images().split(1), modes.MODES[mode].lambda_)
        for file in files:
            file.save(golden_model(mode, file.kind))
    return build_pair(mode)


if __name__ == "__main__":
    for mode in sys.argv[1:]:
        encoder, decoder = pair(mode)
        for name, image, options in pictures(mode):
            path = os.path.join(HERE, f"v1_{mode}_{name}")
            if os.path.exists(path + ".encoded"):
                continue
            tune = options.pop("tune", modes.TUNES[0])
            data = codec.compress(image, tuned(encoder, tune), **options)
            with open(path + ".encoded", "wb") as file:
                file.write(data)
            np.save(path + ".npy", golden_form(data, decoder))
