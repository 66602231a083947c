"""Files that were written before decode to the same latents, with any engine of the coder."""

import glob
import os

import numpy as np
import pytest
from PIL import Image

import codec
from coding import container, detail, engine_c, engine_numba, engine_package, entropy, modes
from coding.tiles import STRIDE
from conftest import ROOT, golden_form, golden_model, joined
from engines import tiled
from engines.pair import Decoder

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
FILES = sorted(glob.glob(os.path.join(GOLDEN, "v1_*.encoded")))


def test_the_golden_files_are_there():
    names = [os.path.basename(path).removeprefix("v1_").removesuffix(".encoded") for path in FILES]
    of_all = [f"{mode}_{name}" for mode in modes.MODES for name in ("rgb", "gray", "pixel", "noise")]
    of_variable = [f"variable_{name}" for name in ("exact", "lowest", "highest", "eye", "eyehighest")]
    assert sorted(names) == sorted([*of_all, *of_variable])


def golden(path):
    """Bytes of a golden file, and its decoder."""
    with open(path, "rb") as file:
        data = file.read()
    return data, Decoder.load(golden_model(os.path.basename(path).split("_")[1], "decoder"))


@pytest.mark.parametrize("engine", [engine_c, engine_numba, engine_package])
@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_golden_file_decodes_to_its_latents(path, engine, monkeypatch):
    monkeypatch.setattr(entropy, "default_engine", lambda: engine)
    data, decoder = golden(path)
    assert np.array_equal(golden_form(data, decoder), np.load(path.replace(".encoded", ".npy")))
    metadata, image = container.unpack(data).metadata, codec.decompress(data, decoder)
    assert image.size == (metadata.width, metadata.height)
    if "noise" in path or "exact" in path:
        noise = np.random.default_rng(0).integers(0, 256, (33, 17, 4), np.uint8)
        assert image.info["icc_profile"] == b"a colour profile"
        assert np.array_equal(np.asarray(image)[:, :, 3], noise[:, :, 3])


@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_what_is_coded_today_is_what_was_coded_then(path):
    """Coding the golden latents and details again gives the golden bytes, which are part of the format."""
    data, decoder = golden(path)
    encoded = container.unpack(data)
    setting = encoded.setting
    if encoded.payload:
        latents = joined(codec.decode_latents(encoded, decoder))
        coder = decoder.coder.tuned(setting.tune)
        assert coder.encode([latents], setting.t) == encoded.payload
    if encoded.detail:
        rows, columns = tiled.shape_of(encoded.metadata)
        shape, how = (rows * STRIDE, columns * STRIDE, 3), (setting.step, detail.TUNES[setting.tune])
        assert detail.encode(detail.decode(encoded.detail, [shape], *how), *how) == encoded.detail


@pytest.mark.parametrize("name, levels", [("highest", 8), ("eyehighest", 12)])
def test_the_golden_detail_layer_brings_its_picture_near(name, levels):
    data, decoder = golden(os.path.join(GOLDEN, f"v1_variable_{name}.encoded"))
    with Image.open(os.path.join(ROOT, "resources", "test_images", "lena.png")) as lena:
        picture = np.asarray(lena.crop((250, 250, 330, 300)), int)
    assert np.abs(np.asarray(codec.decompress(data, decoder)) - picture).max() <= levels
