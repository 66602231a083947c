"""Trained weights to the two `.model` files."""

import os

import numpy as np
from tqdm import tqdm

from engines import export as files
from training.loss import RateDistortion, to_tensor

MOST_IMAGES = 400  # that the adaptive models are fitted on
SIDE = 512  # of them, in pixels at most


def export(rate_distortion: RateDistortion, images: list[np.ndarray], lambda_: float, output_dir: str):
    """Write encoder.model and decoder.model.

    rate_distortion: trained
    images: uint8 (H, W, 3); the adaptive models are fitted on some of them
    lambda_: of the training, which `encode.py --effort` goes by
    output_dir: the folder
    """
    some = images[:: max(1, len(images) // MOST_IMAGES)]
    pixels = (to_tensor(image[:SIDE, :SIDE]) for image in tqdm(some, "fitting the bank", disable=None))
    networks = rate_distortion.analysis, rate_distortion.synthesis, rate_distortion.entropy_model
    encoder, decoder = files.finish(*networks, pixels, lambda_)
    encoder.save(os.path.join(output_dir, "encoder.model"))
    decoder.save(os.path.join(output_dir, "decoder.model"))
