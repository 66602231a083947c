"""evaluation.compare as test_all.sh runs it."""

import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

import codec
from conftest import ROOT
from engines import shipped
from engines.pair import Encoder

LENA = os.path.join(ROOT, "resources/test_images/lena.png")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """lena.encoded in hard mode, made once."""
    path = tmp_path_factory.mktemp("encoded") / "lena.encoded"
    encoder = Encoder.load(shipped.path("hard", "encoder"))
    path.write_bytes(codec.compress(Image.open(LENA), encoder))
    return path


def compare(*args):
    command = [sys.executable, "-m", "evaluation.compare", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_wrong_usage_exits_with_2(encoded):
    assert (
        compare(LENA, encoded).returncode == compare(LENA, encoded, LENA, "--seconds", 1, 2).returncode == 2
    )
    assert "python3 -m evaluation.compare" in compare("--help").stdout


def test_a_file_that_is_none_is_one_line(tmp_path):
    result = compare(LENA, LENA, LENA)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and result.stdout == ""


def test_compare_measures_files_on_disk(tmp_path, encoded):
    shutil.copy(LENA, tmp_path / "decoded.png")
    result = compare(
        LENA,
        encoded,
        tmp_path / "decoded.png",
        "--csv",
        tmp_path / "table.csv",
        "--picture",
        tmp_path / "crop.png",
    )
    assert result.returncode == 0, result.stderr
    header, row = (tmp_path / "table.csv").read_text().splitlines()
    fields = dict(zip(header.split(","), row.split(",")))
    assert fields["bytes"] == str(encoded.stat().st_size) and fields["PSNR"] == "inf"
    assert 20 < float(fields["JPEG PSNR"]) < 35
    assert Image.open(tmp_path / "crop.png").width == 1000


def test_compare_takes_pictures_as_the_encoder_does(tmp_path, encoded):
    """A photograph that lies on its side, with alpha, against its decoded form."""
    lena, exif = Image.open(LENA).crop((0, 0, 300, 200)), Image.Exif()
    exif[0x0112] = 6
    lena.putalpha(200)
    lena.save(tmp_path / "a.png", exif=exif)
    lena.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "decoded.png")
    result = compare(
        tmp_path / "a.png", encoded, tmp_path / "decoded.png", "--picture", tmp_path / "crop.png"
    )
    assert result.returncode == 0, result.stderr
    assert "inf" in result.stdout
