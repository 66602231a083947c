"""Files that were written before decode to the same latents, with any engine."""

import glob
import os

import numpy as np
import pytest

import codec
from coding import container, engine_c, engine_numba, engine_package, entropy
from conftest import golden_form, golden_model, joined
from engines.pair import Decoder

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
FILES = sorted(glob.glob(os.path.join(GOLDEN, "v1_*.encoded")))


def test_the_golden_files_are_there():
    assert len(FILES) == 9


def golden(path):
    """Bytes of a golden file and its decoder."""
    with open(path, "rb") as file:
        data = file.read()
    return data, Decoder.load(golden_model(os.path.basename(path).split("_")[1], "decoder"))


@pytest.mark.parametrize("engine", [engine_c, engine_numba, engine_package])
@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_golden_file_decodes_to_its_latents(path, engine, monkeypatch):
    monkeypatch.setattr(entropy, "default_engine", lambda: engine)
    data, decoder = golden(path)
    encoded = container.unpack(data)
    latents = joined(codec.decode_latents(encoded, decoder))
    assert np.array_equal(golden_form(latents.y, decoder.config), np.load(path.replace(".encoded", ".npy")))
    image = codec.decompress(data, decoder)
    assert image.size == (encoded.metadata.width, encoded.metadata.height)
    if "noise" in path:
        assert image.info["icc_profile"] == b"a colour profile"
        assert np.array_equal(
            np.asarray(image)[:, :, 3],
            np.random.default_rng(0).integers(0, 256, (33, 17, 4), np.uint8)[:, :, 3],
        )


@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_what_is_coded_today_is_what_was_coded_then(path):
    """Coding the golden latents again gives the golden payloads: an encoder's bytes are part of the
    format."""
    data, decoder = golden(path)
    encoded = container.unpack(data)
    latents = joined(codec.decode_latents(encoded, decoder))
    assert decoder.coder.encode([latents], encoded.setting.t) == encoded.payload
