"""Who may import whom: the layout of the program, read from its imports."""

import ast
import glob
import os

import pytest

from conftest import ROOT

SCRIPTS = {"encode", "decode", "train", "evaluate", "bench", "bulk"}
SHELL = {"cli", "batch"}  # what only the scripts share
CORE = {"codec", "model", "quantize"}
PACKAGES = {
    "coding",
    "pictures",
    "networks",
    "engines",
    "layers",
    "encoder",
    "training",
    "evaluation",
    "cluster",
}
OURS = SCRIPTS | CORE | PACKAGES | SHELL

# What of ours each part may import, besides its own modules.
MAY_IMPORT = {
    "coding": set(),
    "quantize": {"coding"},
    "networks": {"coding", "quantize"},
    "pictures": {"coding"},
    "model": {"coding", "networks"},
    "engines": {"coding", "model", "networks", "pictures"},
    "layers": {"coding", "engines", "pictures"},
    "encoder": {"coding", "engines", "layers", "networks", "pictures"},
    "codec": {"coding", "encoder", "engines", "layers", "pictures"},
    "training": {"coding", "engines", "model", "networks", "pictures", "quantize"},
    "evaluation": {"codec", "coding", "engines", "layers", "networks", "pictures"},
    "cluster": {"codec", "coding", "engines", "pictures"},
    "autocompressor_pillow": {"codec", "coding", "engines", "pictures"},
    "cli": {"coding"},
    "batch": {"cli", "coding"},
    **{name: {"coding", "engines", "pictures", *SHELL, *CORE} for name in SCRIPTS},
    "bulk": {"cli", "cluster", "coding"},
    "train": {"cli", "coding", "training", *CORE},
    "evaluate": {"cli", "coding", "evaluation", *CORE},
    "bench": {"cli", "coding", "evaluation", *CORE},
}
RUNNABLE = {
    "evaluation/compare.py",
    "evaluation/screenshots.py",
    "evaluation/sheet.py",
    "training/campaign.py",
    "training/detail_steps.py",
    "training/profile.py",
    "training/steps.py",
    "training/trials.py",
}  # with `python3 -m`
FILES = sorted(
    os.path.relpath(path, ROOT)
    for pattern in ("*.py", *(f"{name}/**/*.py" for name in PACKAGES))
    for path in glob.glob(os.path.join(ROOT, pattern), recursive=True)
)


def imports(path):
    """Full names of the modules and of what is taken from them, that a file imports anywhere in it."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def part_of(path):
    """The top-level name that a file belongs to."""
    return path.split(os.sep)[0].removesuffix(".py")


def test_the_listing_of_the_top_is_short_and_everything_in_it_has_a_rule():
    assert sum(os.sep not in path for path in FILES) <= 13
    assert {part_of(path) for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES)
def test_imports_point_one_way(path):
    theirs = {name.split(".")[0] for name in imports(path)} & OURS
    allowed = MAY_IMPORT[part_of(path)] | {part_of(path)} | ({"cli"} if path in RUNNABLE else set())
    assert theirs <= allowed


@pytest.mark.parametrize("path", FILES)
def test_only_scripts_speak_to_the_shell(path):
    """No module knows options, or how the program ends; what a module has to say it returns or raises."""
    if part_of(path) in SCRIPTS | SHELL or path in RUNNABLE:
        return
    assert not {name.split(".")[0] for name in imports(path)} & {"argparse"}
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    attributes = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not attributes & {("sys", "exit"), ("sys", "stderr"), ("sys", "argv")}


def modules_of_package(path, name):
    """Files of the package of `path` that an imported name stands for."""
    for candidate in (name, name.rpartition(".")[0]):
        file = candidate.replace(".", os.sep) + ".py"
        if file in FILES and file != path:
            yield file
            return


def test_there_are_no_circles():
    graph = {
        path: {file for name in imports(path) for file in modules_of_package(path, name)} for path in FILES
    }
    done = set()
    while len(done) < len(graph):
        ready = {path for path, needed in graph.items() if path not in done and needed <= done}
        assert ready, f"a circle among {sorted(set(graph) - done)}"
        done |= ready


def test_compressing_and_restoring_needs_no_pytorch(script, tmp_path):
    """Not even where it is installed: it takes longer to import than a picture takes to code."""
    hidden = tmp_path / "hidden"
    for name in "torch", "onnx", "onnxscript", "numba":
        (hidden / name).mkdir(parents=True)
        (hidden / name / "__init__.py").write_text(f"raise ImportError('no {name} here', name='{name}')")
    environment = os.environ | {"PYTHONPATH": str(hidden)}
    image, file = os.path.join(ROOT, "resources/test_images/lena.png"), tmp_path / "a.encoded"
    arguments = ["--input_path", image, "--output_path", file]
    done = script("encode.py", *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    done = script("decode.py", "--input_path", file, "--output_path", tmp_path / "b.png", env=environment)
    assert done.returncode == 0, done.stderr
    for option in "--effort=1", "--target_ssimulacra2=70":
        done = script("encode.py", *arguments, option, env=environment)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "needs the package" in done.stderr
