"""Write the golden files of a mode: python3 tests/golden/make.py variable

They hold version 1 of the format. A later version adds files beside them and never changes these:
whoever has a file of an old version must still be able to read it. Those of models without an entropy
model, hard.model and soft.model, were written by an earlier version.
"""
import os
import sys

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

import codec
import model
from conftest import build_pair


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
        encoder, decoder = build_pair(mode)
        stem = mode if mode == "variable" else f"{mode}-context"
        model.save(decoder, os.path.join(HERE, f"{stem}.model"))
        for name, image in pictures():
            path = os.path.join(HERE, f"v1_{stem}_{name}")
            with open(path + ".encoded", "wb") as file:
                file.write(codec.compress(image, encoder))
            encoded = codec.bitstream.unpack(open(path + ".encoded", "rb").read())
            latent = codec.read_latent(encoded, decoder)
            np.save(path + ".npy", latent if mode == "variable" else latent.astype(np.int16))
