"""encode.py and decode.py as a shell runs them, in turns with the import of PyTorch."""

import os
import sys
import tempfile
from collections.abc import Iterator

from evaluation.bench import launch, photograph

SCRIPTS, IMPORT, START = "encode.py, decode.py", 'python3 -c "import torch"', 'python3 -c "pass"'
MEGAPIXELS = 0.25  # 512x512


def rows(repeats: int) -> Iterator[dict]:
    """A row for the scripts, for the import and for the start of Python.

    One turn before the others is not counted: it reads files that are in memory later.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(folder)
        runs = {key: [] for key in commands}
        for turn in range(repeats + 1):
            for key, command in commands.items():
                run = launch.run([sys.executable, *command])
                if turn:
                    runs[key].append(run)
    for of in SCRIPTS, IMPORT, START:
        row = {"part": "commands", "of": of}
        for way in "encode", "decode":
            if (of, way) in runs:
                row[f"{way} seconds"] = [run.seconds for run in runs[of, way]]
                row[f"{way} MB"] = max(run.megabytes for run in runs[of, way])
        yield row


def _commands(folder):
    """Arguments of Python by what is measured of which row; images and files are in a folder."""
    image, file, again = (os.path.join(folder, name) for name in ("image.png", "file", "again.png"))
    photograph.make(MEGAPIXELS).save(image)
    return {
        (IMPORT, "encode"): ["-c", "import torch"],
        (SCRIPTS, "encode"): ["encode.py", f"--input_path={image}", f"--output_path={file}"],
        (SCRIPTS, "decode"): ["decode.py", f"--input_path={file}", f"--output_path={again}"],
        (START, "encode"): ["-c", "pass"],
    }
