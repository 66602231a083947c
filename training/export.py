"""Trained weights to the two `.model` files."""

import os
import shutil

import numpy as np
from tqdm import tqdm

from coding.files import replacing
from engines import export as files
from engines.model_file import ModelFile
from training.loss import RateDistortion, to_tensor
from training.settings import Settings

MOST_IMAGES = 400  # that the adaptive models are fitted on
SIDE = 512  # of them, in pixels at most


def export(rate_distortion: RateDistortion, images: list[np.ndarray], settings: Settings):
    """Write encoder.model and, unless it is there, decoder.model.

    rate_distortion: trained
    images: uint8 (H, W, 3); the adaptive models are fitted on some of them
    settings: of the run; where the encoder alone was trained, the decoder is the one of `keep_decoder`
    """
    lambda_, tune = settings.lambda_, settings.tune
    if settings.part == "encoder":
        decoder = ModelFile.load(settings.path("decoder.model"), "decoder")
        encoder = files.encoder_for(decoder, rate_distortion.analysis, lambda_, tune)
    else:
        networks = rate_distortion.analysis, rate_distortion.synthesis, rate_distortion.entropy_model
        encoder, decoder = files.finish(*networks, _some(images), lambda_, tune)
        decoder.save(settings.path("decoder.model"))
    encoder.save(settings.path("encoder.model"))


def keep_decoder(settings: Settings):
    """Copy the decoder that an encoder will be trained for to the run's folder; raises OSError."""
    with replacing(settings.path("decoder.model")) as temporary:
        shutil.copyfile(os.path.join(settings.start_from, "decoder.model"), temporary)


def _some(images):
    """Pixels (1, 3, H, W) of those of the images that the adaptive models are fitted on."""
    some = images[:: max(1, len(images) // MOST_IMAGES)]
    return (to_tensor(image[:SIDE, :SIDE]) for image in tqdm(some, "fitting the bank", disable=None))
