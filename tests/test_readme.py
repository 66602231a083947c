import os
import re

from conftest import ROOT

README = open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()


def test_the_python_of_the_readme_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.S):
        exec(block, names)
    assert names["image"].size == (512, 512) and names["image"].mode == "RGB"


def test_every_file_that_the_readme_names_is_there():
    for path in re.findall(r"\]\(([^)]+)\)", README) + re.findall(r"`(\w+\.(?:py|sh|txt))`", README):
        assert os.path.exists(os.path.join(ROOT, path)), path


def test_every_option_that_the_readme_names_is_known(script):
    names = "encode.py", "decode.py", "train.py", "evaluate.py"
    helps = {name: script(name, "--help").stdout for name in names}
    for name, options in re.findall(r"python3 (\w+\.py) (--.*)", README):
        for option in re.findall(r"--[\w-]+", options):
            assert option in helps[name], (name, option)
