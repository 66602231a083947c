"""`requirements-light.txt` in an environment of its own: small, without PyTorch, and enough."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from conftest import ROOT, psnr

LENA = os.path.join(ROOT, "resources", "test_images", "lena.png")
MOST_BYTES = 350e6


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The path of the environment's interpreter."""
    folder = str(tmp_path_factory.mktemp("light"))
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = os.path.join(folder, "bin", "python3")
    requirements = os.path.join(ROOT, "requirements-light.txt")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
    done = subprocess.run(install, capture_output=True, text=True)
    if "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    return python


def test_it_is_small(python):
    folder = os.path.dirname(os.path.dirname(python))
    sizes = [
        os.lstat(os.path.join(parent, name)).st_blocks * 512
        for parent, _, names in os.walk(folder)
        for name in names
    ]
    assert sum(sizes) <= MOST_BYTES


@pytest.mark.parametrize("mode", ["hard", "soft", "variable"])
def test_it_compresses_and_decompresses(python, mode, tmp_path):
    encoded, decoded = tmp_path / "lena.encoded", tmp_path / "lena.png"
    run(python, "encode.py", f"--quantize_mode={mode}", f"--input_path={LENA}", f"--output_path={encoded}")
    run(python, "decode.py", f"--input_path={encoded}", f"--output_path={decoded}")
    assert psnr(Image.open(decoded), Image.open(LENA)) > 28


@pytest.mark.parametrize("option", ["--effort=2", "--target_ssimulacra2=70"])
def test_what_it_lacks_is_one_line(python, tmp_path, option):
    command = [python, "encode.py", option, f"--input_path={LENA}", f"--output_path={tmp_path}/a"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "torch" in done.stderr


def run(python, *arguments):
    subprocess.run([python, *arguments], cwd=ROOT, check=True, capture_output=True)
