import os
import shutil

import nbformat
from nbclient import NotebookClient

from conftest import ROOT


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    for name in os.listdir(ROOT):  # a copy of the folder by links: what the notebook writes stays out of it
        if name not in ("notebooks", "runs", ".git"):
            os.symlink(os.path.join(ROOT, name), tmp_path / name)
    shutil.copytree(os.path.join(ROOT, "notebooks"), tmp_path / "notebooks")
    notebook = nbformat.read(tmp_path / "notebooks/train.ipynb", as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells), "it is to be committed with its outputs"
    NotebookClient(notebook, timeout=500, kernel_name="python3",
                   resources={"metadata": {"path": str(tmp_path / "notebooks")}}).execute()
    assert (tmp_path / "runs/notebook/decoder.model").exists()
