"""Folders and shards on a local Ray cluster of two workers."""

import functools
import glob
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import uuid

import numpy as np
import pytest
from PIL import Image

import codec
from conftest import ROOT
from engines.pair import Encoder, shipped

pytest.importorskip("ray")


def bulk(*args, **options):
    command = [sys.executable, os.path.join(ROOT, "bulk.py"), "--workers=2", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def make_photos(folder, count):
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3)).repeat(16, 0).repeat(16, 1)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


def files_in(folder):
    return sorted(
        os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names
    )


@functools.cache
def encoder():
    return Encoder.load(shipped("variable", "encoder"))


def expected(path):
    """The bytes that encode.py makes of an image file."""
    return codec.compress(Image.open(path), encoder())


def test_folders_and_shards_there_and_back_and_again(tmp_path):
    photos, out, back = (tmp_path / name for name in ("photos", "out", "back"))
    make_photos(photos, 3)
    (photos / "sub").mkdir()
    (photos / "bad.png").write_bytes(b"no image")
    with tarfile.open(photos / "sub" / "shard.tar", "w") as shard:
        for name in "0.png", "bad.png", "1.png":
            shard.add(photos / name, name)
        label = tarfile.TarInfo("1.txt")
        label.size = 5
        shard.addfile(label, io.BytesIO(b"label"))
    done = bulk("--input_path", photos, "--output_path", out)
    assert done.returncode == 1 and done.stdout.startswith("5 files")
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and sum("bad.png: not an image" in line for line in lines) == 2
    assert files_in(out) == ["0.png.encoded", "1.png.encoded", "2.png.encoded", "sub/shard.tar"]
    with tarfile.open(out / "sub" / "shard.tar") as shard:
        assert shard.getnames() == ["0.png.encoded", "bad.png", "1.png.encoded", "1.txt"]
        members = {member.name: shard.extractfile(member).read() for member in shard}
    assert members["1.txt"] == b"label" and members["bad.png"] == b"no image"
    for number in range(3):
        data = (out / f"{number}.png.encoded").read_bytes()
        assert data == expected(photos / f"{number}.png")
        assert members.get(f"{number}.png.encoded", data) == data

    (photos / "bad.png").unlink()
    again = bulk("--input_path", photos, "--output_path", out)
    assert again.returncode == 0 and again.stdout == "0 files, 0 to 0 bytes; 4 were there already\n"
    done = bulk("--decode", "--input_path", out, "--output_path", back)
    assert done.returncode == 0 and files_in(back) == ["0.png.png", "1.png.png", "2.png.png", "sub/shard.tar"]
    with tarfile.open(back / "sub" / "shard.tar") as shard:
        assert shard.getnames() == ["0.png.png", "bad.png", "1.png.png", "1.txt"]
        assert shard.extractfile("0.png.png").read() == (back / "0.png.png").read_bytes()


def workers_of(mark):
    """Process numbers of the cluster's actors, which inherit a variable from the driver."""
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(f"{path}/cmdline", "rb") as line, open(f"{path}/environ", "rb") as variables:
                if b"MapWorker" in line.read() and mark.encode() in variables.read():
                    yield int(os.path.basename(path))
        except OSError:  # it has ended
            continue


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="processes are found in /proc")
def test_a_killed_worker_loses_nothing_and_doubles_nothing(tmp_path):
    photos, out, mark = tmp_path / "photos", tmp_path / "out", uuid.uuid4().hex
    make_photos(photos, 60)
    command = [sys.executable, os.path.join(ROOT, "bulk.py"), "--workers=2"]
    command += ["--input_path", str(photos), "--output_path", str(out)]
    process = subprocess.Popen(
        command, env=os.environ | {"MARK": mark}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while time.monotonic() < end and (not out.exists() or not files_in(out)):
        time.sleep(0.02)
    killed = next(workers_of(mark))
    os.kill(killed, signal.SIGKILL)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert output.startswith("60 files")
    assert files_in(out) == sorted(f"{number}.png.encoded" for number in range(60))
    for number in range(60):
        assert (out / f"{number}.png.encoded").read_bytes() == expected(photos / f"{number}.png")


def test_what_cannot_be_done_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in tmp_path / "empty", "nothing://here":
        done = bulk("--input_path", path, "--output_path", tmp_path / "out")
        assert done.returncode == 1 and done.stderr.count("\n") == 1
