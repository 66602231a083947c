"""Decoders found by the id that a file names."""

import logging
import os
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, golden_model
from engines import shipped
from engines.model_file import ModelError, ModelFile
from engines.pair import Decoder

MODES = ("hard", "soft", "variable")


def id_of(path):
    return ModelFile.load(path, "decoder").id


@pytest.fixture
def further(tmp_path, monkeypatch):
    """A folder of decoders besides those of the program."""
    monkeypatch.setenv(shipped.FURTHER, os.pathsep.join([str(tmp_path / "none"), str(tmp_path)]))
    return tmp_path


@pytest.mark.parametrize("mode", MODES)
def test_the_shipped_decoder_is_found_by_its_id(mode):
    path = shipped.path(mode, "decoder")
    for others in MODES:  # whatever mode is looked at first
        assert shipped.find(id_of(path), others)[0] == path
    assert Decoder.find(id_of(path), mode) is Decoder.find(id_of(path), mode)


@pytest.mark.parametrize("place", ["decoder.model", "of last year/decoder.model"])
def test_a_decoder_in_a_further_folder_is_found(further, place):
    (further / place).parent.mkdir(exist_ok=True)
    shutil.copy(golden_model("soft", "decoder"), further / place)
    decoder_id = id_of(further / place)
    path, file = shipped.find(decoder_id, "hard")
    assert path == str(further / place) and file.id == decoder_id
    assert Decoder.find(decoder_id, "soft").config.mode.name == "soft"


def test_a_decoder_that_is_nowhere_is_told_with_its_id_and_the_places(further):
    with pytest.raises(ModelError) as error:
        shipped.find(bytes(range(8)), "variable")
    for part in "0001020304050607", os.path.join(ROOT, "models"), str(further), shipped.FURTHER:
        assert part in str(error.value)


def test_what_cannot_be_read_on_the_way_is_told(further, caplog):
    (further / "damaged").mkdir()
    (further / "damaged" / "decoder.model").write_bytes(b"no model")
    (further / "sound").mkdir()
    shutil.copy(golden_model("hard", "decoder"), further / "sound" / "decoder.model")
    with caplog.at_level(logging.WARNING):
        path, _ = shipped.find(id_of(golden_model("hard", "decoder")), "hard")
    assert path == str(further / "sound" / "decoder.model")
    assert [os.path.join("damaged", "decoder.model") in line for line in caplog.messages] == [True]


def test_decode_script_takes_the_decoder_that_the_file_names(tmp_path):
    source, output = os.path.join(ROOT, "tests", "golden", "v1_variable_rgb.encoded"), tmp_path / "out.png"
    command = [sys.executable, "decode.py", "--input_path", source, "--output_path", output]

    def decode(**more):
        return subprocess.run(command, cwd=ROOT, env=os.environ | more, capture_output=True, text=True)

    needed = id_of(golden_model("variable", "decoder")).hex()
    missing = decode()
    assert missing.returncode == 1 and not output.exists()
    assert missing.stderr.count("\n") == 1 and source in missing.stderr and needed in missing.stderr
    shutil.copy(golden_model("variable", "decoder"), tmp_path / "decoder.model")
    assert decode(AUTOCOMPRESSOR_MODELS=str(tmp_path)).returncode == 0 and output.exists()
