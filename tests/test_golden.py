"""Files written by earlier versions decode to the same latents, with either engine."""
import glob
import os

import numpy as np
import pytest

import bitstream
import codec
import engine_compiled
import engine_package
import entropy
import latent_coder
import model

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
FILES = sorted(glob.glob(os.path.join(GOLDEN, "v1_*.encoded")))


def test_the_golden_files_are_there():
    assert len(FILES) == 15


def golden_decoder(path):
    return model.load(os.path.join(GOLDEN, f"{os.path.basename(path).split('_')[1]}.model"), "decoder")


@pytest.mark.parametrize("engine", [engine_compiled, engine_package])
@pytest.mark.parametrize("path", FILES, ids=os.path.basename)
def test_golden_file_decodes_to_its_latents(path, engine, monkeypatch):
    monkeypatch.setattr(entropy, "default_engine", lambda: engine)
    with open(path, "rb") as file:
        data = file.read()
    encoded = bitstream.unpack(data)
    decoder = golden_decoder(path)
    latent = codec.read_latent(encoded, decoder)
    assert np.array_equal(latent, np.load(path.replace(".encoded", ".npy")))
    image = codec.decompress(data, decoder)
    assert image.size == (encoded.width, encoded.height)
    if "noise" in path:
        assert image.info["icc_profile"] == b"a colour profile"
        assert np.array_equal(np.asarray(image)[:, :, 3],
                              np.random.default_rng(0).integers(0, 256, (33, 17, 4), np.uint8)[:, :, 3])


def test_what_is_encoded_today_is_what_was_encoded_then():
    """Coding the golden integers again gives the golden payloads: an encoder's bytes are part of the promise."""
    for path in FILES:
        with open(path, "rb") as file:
            encoded = bitstream.unpack(file.read())
        decoder = golden_decoder(path)
        bank = codec.bank_of(decoder)
        if decoder.context is None:
            latent = np.load(path.replace(".encoded", ".npy"))
            assert entropy.encode(latent.reshape(len(latent), -1), bank) == encoded.payload
            continue
        coded = []
        rows, columns = -(-encoded.height // 16), -(-encoded.width // 16)
        latent_coder.decode(decoder.context, bank, encoded.payload, rows, columns, encoded.rate, decoder.config.limits,
                            lambda index, positions, choice, values: coded.append((values, choice.contexts)))
        values, contexts = (np.concatenate(part) for part in zip(*coded))
        assert entropy.encode_in_context(values, contexts, bank) == encoded.payload


def test_the_early_form_of_variable_mode_is_refused_by_name():
    with open(os.path.join(GOLDEN, "retired_mode_2.encoded"), "rb") as file, \
            pytest.raises(bitstream.BitstreamError, match="early form of variable mode"):
        bitstream.unpack(file.read())
