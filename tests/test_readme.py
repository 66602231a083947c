"""What the README and docs/ say can be run, and what they name is there."""

import glob
import os
import re
import subprocess
import sys

import pytest

from conftest import ROOT


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


README = read("README.md")
DOCUMENTS = ["README.md", *sorted(os.path.relpath(path, ROOT) for path in glob.glob(f"{ROOT}/docs/*.md"))]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 130


def test_the_python_of_the_readme_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.S):
        exec(block, names)
    assert names["image"].size == (512, 512) and names["image"].mode == "RGB"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_a_document_names_is_there(document):
    text = read(document)
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    for link in links:
        path, _, heading = link.partition("#")
        assert os.path.exists(os.path.join(ROOT, os.path.dirname(document), path)), link
        if heading:
            linked = os.path.join(os.path.dirname(document), path)
            headings = re.findall(r"^#+ (.*)$", read(linked), re.M)
            assert heading in [name.lower().replace(" ", "-") for name in headings], link
    for path in re.findall(r"`([\w/]+(?:\.(?:py|sh|md|txt)|/))`", text):
        assert path.startswith("runs/") or os.path.exists(os.path.join(ROOT, path)), path


def test_every_option_that_a_document_names_is_known(script):
    scripts = ["encode.py", "decode.py", "train.py", "evaluate.py", "bench.py", "bulk.py"]
    helps = {name: script(name, "--help").stdout for name in scripts}
    command = [sys.executable, "-m", "evaluation.compare", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    helps["evaluation.compare"] = result.stdout
    for document in DOCUMENTS:
        text = read(document).replace("\\\n", " ")
        for name, options in re.findall(r"^ +.*?(\w+\.py|evaluation\.compare)\b(.*)$", text, re.M):
            for option in re.findall(r"(?<= )--[\w-]+", options):
                assert option in helps[name], (document, name, option)


def test_every_call_that_how_it_works_lists_is_in_its_file():
    rows = re.findall(r"^\| \d \| `(\w+)\(.*\)` \|.*\| `([\w/.]+)` \|$", read("docs/how-it-works.md"), re.M)
    assert len(rows) == 18
    for name, path in rows:
        assert f"def {name}(" in read(path), (name, path)
