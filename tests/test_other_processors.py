"""Latents are the same integers whatever a processor can do; see `golden/latents.py` for other machines."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import codec
from conftest import ROOT
from engines import pair, shipped

# Each library without all that only some processors have, and OpenBLAS with kernels of 2004.
OLD = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "NUMBA_CPU_NAME": "x86-64",
    "OPENBLAS_CORETYPE": "Prescott",
}
OPTIONAL = "from numpy._core._multiarray_umath import __cpu_dispatch__ as d, __cpu_features__ as f; " + (
    "print(*(name for name in d if f[name]))"
)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the settings are those of x86-64")
def test_latents_do_not_depend_on_the_processor(photo, tmp_path):
    path = tmp_path / "photo.encoded"
    encoder = pair.Encoder.load(shipped.path("variable", "encoder"))
    path.write_bytes(codec.compress(Image.fromarray(np.tile(photo, (3, 3, 1))), encoder, quality=8))
    optional = run("-c", OPTIONAL).strip()
    old = OLD | {"NPY_DISABLE_CPU_FEATURES": optional} if optional else OLD
    assert run("-c", OPTIONAL, **old).strip() == ""
    for files in [], [path]:
        latents = run("tests/golden/latents.py", *files)
        assert latents.count("\n") == (len(files) or 17)
        assert run("tests/golden/latents.py", *files, **old) == latents


def run(*arguments, **environment):
    """What Python prints in an environment that says no more of processors than this."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    ours |= {"PYTHONPATH": ROOT, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=ours | environment, capture_output=True, text=True, check=True
    )
    return done.stdout
