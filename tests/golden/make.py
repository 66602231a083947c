"""Write the golden files of a mode: PYTHONPATH=.:tests python3 tests/golden/make.py variable

They hold version 1 of the format: a change that makes one of them fail is a change of the format.
"""

import os
import sys

import numpy as np
from PIL import Image

import codec
from coding import modes
from conftest import build_transforms, golden_form, golden_model, joined, open_pair
from conftest import pictures as images
from engines import export

HERE = os.path.dirname(os.path.abspath(__file__))


def pictures():
    """Names and images that between them use every field of the header."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:56]
    rgb = np.stack([x * 4, y * 6, (x + y) * 2], 2).astype(np.uint8)
    yield "rgb", Image.fromarray(rgb)
    yield "gray", Image.fromarray(rgb[:, :, 1])
    noise = Image.fromarray(random.integers(0, 256, (33, 17, 4), np.uint8))  # escapes, and alpha
    noise.info["icc_profile"] = b"a colour profile"
    yield "noise", noise


if __name__ == "__main__":
    for mode in sys.argv[1:]:
        files = export.finish(*build_transforms(mode), images().split(1), modes.MODES[mode].lambda_)
        for file in files:
            file.save(golden_model(mode, file.kind))
        encoder, decoder = open_pair(*files)
        for name, image in pictures():
            path = os.path.join(HERE, f"v1_{mode}_{name}")
            data = codec.compress(image, encoder)
            with open(path + ".encoded", "wb") as file:
                file.write(data)
            y = joined(codec.decode_latents(codec.unpack(data, decoder), decoder)).y
            np.save(path + ".npy", golden_form(y, decoder.config))
