"""Standard input and output in the place of files."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, golden_model

ENCODE = [
    sys.executable,
    os.path.join(ROOT, "encode.py"),
    f"--encoder_path={golden_model('soft', 'encoder')}",
    "--output_path=-",
]
DECODE = [
    sys.executable,
    os.path.join(ROOT, "decode.py"),
    f"--decoder_path={golden_model('soft', 'decoder')}",
    "--input_path=-",
]


@pytest.fixture
def ppm(photo):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PPM")
    return file.getvalue()


def run(command, content, **options):
    return subprocess.run(command, input=content, capture_output=True, timeout=120, **options)


def test_there_and_back_through_pipes(photo, ppm, tmp_path):
    packed = run([*ENCODE, "--input_path=-"], ppm)
    assert packed.returncode == 0 and packed.stdout.startswith(b"\x89ACM") and b"bpp" in packed.stderr
    (tmp_path / "a.ppm").write_bytes(ppm)
    assert run([*ENCODE, "--quiet", f"--input_path={tmp_path}/a.ppm"], b"").stdout == packed.stdout
    restored = run([*DECODE, "--output_path=-", "--quiet"], packed.stdout)
    assert restored.returncode == 0 and restored.stderr == b""
    image = Image.open(io.BytesIO(restored.stdout))
    assert image.format == "PNG" and image.size == (56, 40)
    to_file = run([*DECODE, f"--output_path={tmp_path}/b.png"], packed.stdout)
    assert to_file.returncode == 0 and b"56x40" in to_file.stdout
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), np.asarray(image))


def test_what_is_no_image_is_one_line_and_no_output():
    for command in [*ENCODE, "--input_path=-"], [*DECODE, "--output_path=-"]:
        for content in b"", b"no image":
            done = run(command, content)
            assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)


def write_to(output, content):
    command = [*ENCODE, "--input_path=-", "--quiet"]
    return subprocess.run(command, input=content, stdout=output, stderr=subprocess.PIPE, timeout=120)


def test_a_reader_that_has_gone_is_no_error_message(ppm):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = write_to(writing, ppm)
    finally:
        os.close(writing)
    assert done.returncode == 1 and done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_is_one_line(ppm):
    with open("/dev/full", "wb") as full:
        done = write_to(full, ppm)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"No space left" in done.stderr
