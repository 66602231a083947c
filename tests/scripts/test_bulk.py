"""Folders and shards on a local Ray cluster of two workers, and what one worker does."""

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
from cluster.plan import Task, Unit
from cluster.worker import Worker
from conftest import ROOT
from engines import shipped
from engines.pair import Encoder

pytest.importorskip("ray")
fsspec = pytest.importorskip("fsspec")
MemoryFileSystem = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem


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
    return Encoder.load(shipped.path("variable", "encoder"))


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
    while time.monotonic() < end and (not out.exists() or not finished_in(out)):
        time.sleep(0.02)
    killed = next(workers_of(mark))
    os.kill(killed, signal.SIGKILL)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert output.startswith("60 files")
    assert finished_in(out) == sorted(f"{number}.png.encoded" for number in range(60))
    for number in range(60):
        assert (out / f"{number}.png.encoded").read_bytes() == expected(photos / f"{number}.png")


def finished_in(folder):
    """Files without what a killed worker was writing, which has a hidden name."""
    return [name for name in files_in(folder) if not name.startswith(".")]


HEAD = """
import ray, sys
print(ray.init(num_cpus=2, include_dashboard=False).address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cluster(tmp_path):
    """Address of a cluster whose workers do not find our modules by themselves, and what joins it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token"}  # the token is made in this home
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    head = subprocess.Popen([sys.executable, "-c", HEAD], cwd=tmp_path, env=env, text=True, **pipes)
    yield head.stdout.readline().strip(), env
    head.communicate(timeout=60)


def test_the_program_is_sent_to_a_cluster(tmp_path, cluster):
    photos, out, (address, env) = tmp_path / "photos", tmp_path / "out", cluster
    make_photos(photos, 3)
    paths = "--input_path", photos, "--output_path", out
    done = bulk(*paths, "--address", address, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") == 1
    for number in range(3):
        assert (out / f"{number}.png.encoded").read_bytes() == expected(photos / f"{number}.png")


def test_what_cannot_be_read_is_a_line_and_the_rest_goes_on(tmp_path):
    photos = tmp_path / "photos"
    make_photos(photos, 2)
    (photos / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (photos / "bad.tar").write_bytes(b"no shard")
    (photos / ".hidden.png").write_bytes(b"no image")
    done = bulk("--input_path", photos, "--output_path", photos / "out")  # which is not taken for an input
    assert done.returncode == 1 and files_in(photos / "out") == ["0.png.encoded", "1.png.encoded"]
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and "bad.tar: the shard is damaged" in lines[0] and "gone.png: " in lines[1]
    assert "fault of the program" not in done.stderr


def test_what_cannot_be_done_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    make_photos(tmp_path / "photos", 1)
    with tarfile.open(tmp_path / "photos" / "a.tar", "w") as shard:
        shard.add(tmp_path / "photos" / "0.png", "0.png")
    for source, target, *options in (
        ("empty", "out"),
        ("photos", "photos"),  # the shard would replace itself
        ("photos", "photos/0.png"),
        ("photos", "out", "--address=127.0.0.1:9"),
        ("photos", "out", "--address=nonsense"),
    ):
        done = bulk("--input_path", tmp_path / source, "--output_path", tmp_path / target, *options)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert "fault of the program" not in done.stderr
    done = bulk("--input_path", "nothing://here", "--output_path", tmp_path / "out")
    assert done.returncode == 1 and done.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["ray", "fsspec"])
def test_a_missing_package_is_one_line_that_helps(tmp_path, package):
    make_photos(tmp_path / "photos", 1)
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{package!r}] = None")
    paths = "--input_path", tmp_path / "photos", "--output_path", tmp_path / "out"
    done = bulk(*paths, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "pip install -r requirements-bulk.txt" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--quality=11"],
        ["--target_bpp=nan"],
        ["--target_ssimulacra2=101"],
        ["--target_ssimulacra2=70", "--quantize_mode=hard"],
        ["--quality=3", "--quantize_mode=hard"],
        ["--tune=eye", "--quantize_mode=hard"],
    ],
)
def test_wrong_usage_exits_with_2(options):
    assert bulk("--input_path=a", "--output_path=b", *options).returncode == 2


def make_worker(output):
    """A Worker that encodes from memory to the URL `output`."""
    return Worker(Task("memory://in", output))


def test_a_member_of_a_shard_is_renamed_whatever_its_name(tmp_path):
    make_photos(tmp_path / "photos", 1)
    names, file = ["\u00e9.png", "x" * 120 + ".png", "0.png"], io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as shard:
        for name in names:
            shard.add(tmp_path / "photos" / "0.png", name)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/in/a.tar", file.getvalue())
    outcome = make_worker("memory://out").do(Unit("a.tar", "/in/a.tar", "/out/a.tar"))
    assert outcome.failures == ()
    with tarfile.open(fileobj=io.BytesIO(memory.cat_file("/out/a.tar"))) as shard:
        assert shard.getnames() == [f"{name}.encoded" for name in names]


class Broken(Exception):
    """As if the connection broke."""


class Pieces(MemoryFileSystem):
    """A store that shows an object before all of it is written."""

    protocol = "pieces"
    broken = False

    def pipe_file(self, path, value, **kwargs):
        if self.broken:
            super().pipe_file(path, value[: len(value) // 2], **kwargs)
            raise Broken("gone")
        super().pipe_file(path, value, **kwargs)


def test_a_store_that_writes_in_pieces_has_no_half_file_of_a_name(tmp_path):
    fsspec.register_implementation("pieces", Pieces, clobber=True)
    make_photos(tmp_path / "photos", 1)
    store, content = fsspec.filesystem("pieces"), (tmp_path / "photos" / "0.png").read_bytes()
    fsspec.filesystem("memory").pipe_file("/in/0.png", content)
    unit = Unit("0.png", "/in/0.png", "/pieces/0.png.encoded")
    worker = make_worker("pieces://pieces")
    Pieces.broken = True
    assert worker.do(unit).failures == ("0.png: gone",) and not store.exists("/pieces/0.png.encoded")
    Pieces.broken = False
    assert worker.do(unit).failures == ()
    assert store.cat_file("/pieces/0.png.encoded") == expected(tmp_path / "photos" / "0.png")
