import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from conftest import ROOT
from evaluation import butteraugli


@pytest.fixture
def copy(tmp_path):
    """A copy of the folder by links: what a notebook writes stays out of it."""
    for name in os.listdir(ROOT):
        if name not in ("notebooks", "resources", "runs", "report", ".git"):
            os.symlink(os.path.join(ROOT, name), tmp_path / name)
    shutil.copytree(os.path.join(ROOT, "notebooks"), tmp_path / "notebooks")
    (tmp_path / "resources").mkdir()
    for name in "test_images", "reference":
        os.symlink(os.path.join(ROOT, "resources", name), tmp_path / "resources" / name)
    return tmp_path


def execute(path):
    """The notebook, executed where it lies; committed ones have their outputs."""
    notebook = nbformat.read(path, as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells), "it is to be committed with its outputs"
    return NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": os.path.dirname(path)}}
    ).execute()


def test_the_training_notebook_runs_from_top_to_bottom(copy):
    path = copy / "notebooks/train.ipynb"
    text = path.read_text(encoding="utf-8")
    assert "steps=40)" in text
    path.write_text(text.replace("steps=40)", "steps=4)"), encoding="utf-8")
    execute(path)
    assert (copy / "runs/notebook/decoder.model").exists()


def test_the_analytics_notebook_runs_on_a_small_set(copy):
    (copy / "small").mkdir()
    for name in "lena", "baboon":
        image = Image.open(os.path.join(ROOT, f"resources/test_images/{name}.png"))
        image.crop((200, 200, 376, 376)).save(copy / f"small/{name}.png")
    options = "--against jpeg webp --qualities 1 3 5 7 --output resources/analytics/test_images".split()
    command = [sys.executable, "evaluate.py", "small", *options]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    notebook = execute(copy / "notebooks/analytics.ipynb")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert "lena.png" in text and "peppers.png" not in text
    by_hand, cubics = (
        float(part.split("%")[0]) for part in text.split("by hand:")[1].split("with cubics:")[:2]
    )
    assert abs(by_hand - cubics) < 5
    charts = 6 if butteraugli.path() is None else 7
    assert sum("image/png" in output.get("data", {}) for output in outputs) == charts
