"""Many files at once: folders and patterns, failures, and runs that go on."""

import contextlib
import csv
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from calls import call
from PIL import Image

import batch
from coding.errors import UserError
from conftest import ROOT, golden_model, hears_ctrl_c
from pictures import reading

ENCODER, DECODER = (f"--{kind}_path={golden_model('variable', kind)}" for kind in ("encoder", "decoder"))


@pytest.fixture
def photos(tmp_path):
    """A tree of small images, with what is to be left alone and what cannot be read."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    for name in "a.png", "a.bmp", "sub/b.png":
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"no image")
    return folder


def files_in(folder):
    return sorted(
        os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names
    )


def encode(script, *args, **options):
    return script("encode.py", ENCODER, *args, **options)


def test_a_tree_is_mirrored_there_and_back_and_what_is_there_is_skipped(script, photos, tmp_path):
    out, back, summary = tmp_path / "out", tmp_path / "back", tmp_path / "x.csv"
    done = encode(script, "--input_path", photos, "--output_path", out, "--summary", summary)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith("3 files, ")
    assert files_in(out) == ["a.bmp.encoded", "a.png.encoded", "sub/b.png.encoded"]
    one = encode(script, "--input_path", photos / "a.png", "--output_path", tmp_path / "one", "--quiet")
    assert one.returncode == 0
    assert (tmp_path / "one").read_bytes() == (out / "a.png.encoded").read_bytes()
    with open(summary, newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"a.bmp", "a.png", os.path.join("sub", "b.png")}
    size = os.path.getsize(out / "a.png.encoded")
    assert rows["a.png"]["bytes_after"] == str(size) and rows["a.png"]["error"] == ""
    assert float(rows["a.png"]["bpp"]) == pytest.approx(8 * size / 960, abs=1e-3)
    assert rows["a.png"]["ssimulacra2"] == ""

    before = (out / "a.png.encoded").stat().st_mtime_ns
    (out / "a.bmp.encoded").unlink()
    again = encode(script, "--input_path", photos, "--output_path", out)
    assert "2 were there already" in again.stdout and again.stdout.startswith("1 files")
    assert (out / "a.png.encoded").stat().st_mtime_ns == before
    anew = encode(script, "--input_path", photos, "--output_path", out, "--overwrite")
    assert anew.stdout.startswith("3 files") and (out / "a.png.encoded").stat().st_mtime_ns > before

    done = script("decode.py", DECODER, "--input_path", out, "--output_path", back, "--jobs=2")
    assert done.returncode == 0 and done.stderr == ""
    assert files_in(back) == ["a.bmp.png", "a.png.png", "sub/b.png.png"]
    assert Image.open(back / "a.png.png").size == (40, 24)


@pytest.mark.parametrize("jobs", [1, 2])
def test_failures_are_listed_and_the_rest_goes_on(script, photos, tmp_path, jobs):
    (photos / "bad.png").write_bytes(b"no image")
    out, summary = tmp_path / "out", tmp_path / "x.csv"
    done = encode(
        script, "--input_path", photos, "--output_path", out, f"--jobs={jobs}", "--summary", summary
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == 2
    assert "bad.png: not an image" in lines[0] and "1 of 4 files failed" in lines[1]
    assert len(files_in(out)) == 3
    assert "not an image" in summary.read_text()


def test_a_folder_gets_one_score(tmp_path):
    """But for what is too small to have one, and for what cannot miss it."""
    (tmp_path / "photos").mkdir()
    lena = Image.open(os.path.join(ROOT, "resources", "test_images", "lena.png"))
    for name, image in {
        "a.png": lena.crop((200, 200, 328, 328)),
        "b.png": lena.crop((0, 350, 120, 480)).convert("L"),
        "drawn.png": Image.fromarray(np.kron(np.eye(40, dtype=bool), np.ones((3, 3), bool))),
        "small.png": lena.crop((0, 0, 112, 200)),
    }.items():
        image.save(tmp_path / "photos" / name)
    summary = tmp_path / "summary.csv"
    paths = f"--input_path={tmp_path / 'photos'}", f"--output_path={tmp_path / 'out'}"
    done = call("encode.py", *paths, "--target_ssimulacra2=70", f"--summary={summary}")
    assert done.returncode == 1 and files_in(tmp_path / "out") == [
        f"{name}.png.encoded" for name in ("a", "b", "drawn")
    ]
    warning, failure, _ = done.stderr.splitlines()
    assert "drawn.png: SSIMULACRA2 of 100.00 instead of 70: it keeps all pixels exactly" in warning
    assert "small.png: SSIMULACRA2 needs sides of 113 pixels at least" in failure
    with open(summary, newline="") as file:
        scores = {row["name"]: row["ssimulacra2"] for row in csv.DictReader(file)}
    assert scores["drawn.png"] == "100.0" and scores["small.png"] == ""
    assert float(scores["a.png"]) == pytest.approx(70, abs=1) == float(scores["b.png"])


def test_a_pattern_takes_what_it_matches(script, photos, tmp_path):
    out = tmp_path / "out"
    done = encode(script, "--input_path", f"{photos}/**/*.png", "--output_path", out)
    assert done.returncode == 0 and files_in(out) == ["a.png.encoded", "sub/b.png.encoded"]


@pytest.mark.parametrize("pattern, out", [("*.png", "."), ("sub/*.png", "sub"), ("sub/*.png", ".")])
def test_a_pattern_takes_what_it_matches_where_outputs_go_too(photos, monkeypatch, pattern, out):
    monkeypatch.chdir(photos)
    (job,), _ = batch.plan(pattern, out, is_png, "{}.encoded".format)
    assert os.path.isfile(job.source) and job.target == os.path.join(out, f"{job.name}.encoded")


def test_an_output_folder_below_a_pattern_is_no_input(photos):
    (photos / "sub" / "out").mkdir()
    Image.new("RGB", (8, 8)).save(photos / "sub" / "out" / "c.png")
    jobs, _ = batch.plan(f"{photos}/**/*.png", str(photos / "sub" / "out"), is_png, "{}.encoded".format)
    assert [job.name for job in jobs] == ["a.png", os.path.join("sub", "b.png")]


def is_png(path):
    return path.endswith(".png")


def test_an_output_folder_inside_the_input_is_no_input(photos):
    out = photos / "out"
    out.mkdir()
    Image.new("RGB", (8, 8)).save(out / "c.png")
    jobs, others = batch.plan(str(photos), str(out), is_png, "{}.encoded".format)
    assert [job.name for job in jobs] == ["a.png", os.path.join("sub", "b.png")]
    assert others == 2  # a.bmp and notes.txt


def test_what_is_left_out_is_counted(script, photos, tmp_path):
    (photos / "album").symlink_to(photos / "sub")
    done = encode(script, "--input_path", photos, "--output_path", tmp_path / "out")
    assert done.returncode == 0 and done.stdout.endswith("; 0 failed; 2 of other kinds left out\n")
    done = encode(script, "--input_path", f"{photos}/*.txt", "--output_path", tmp_path / "out")
    assert done.returncode == 1 and "nothing to do here; 1 of other kinds left out" in done.stderr


def test_the_help_names_the_kinds_that_are_taken(script):
    text = script("encode.py", "--help").stdout
    assert all(extension in text for extension in reading.EXTENSIONS)


def test_a_folder_that_cannot_be_read_is_an_error(photos, tmp_path, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "sub":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        batch.plan(str(photos), str(tmp_path / "out"), is_png, "{}.encoded".format)


def test_a_summary_goes_where_streams_lead(photos, tmp_path):
    """After what is there already."""
    log = tmp_path / "log"
    for number, name in enumerate(("-", "/dev/stdout", "/dev/stderr")):
        log.write_text("a line\n")
        arguments = ENCODER, f"--input_path={photos}", f"--output_path={tmp_path / str(number)}"
        with open(log, "ab") as file:
            subprocess.run(
                [sys.executable, os.path.join(ROOT, "encode.py"), *arguments, f"--summary={name}"],
                cwd=tmp_path,
                check=True,
                stdout=file,
                stderr=file,
            )
        lines = log.read_text().splitlines()
        assert lines[0] == "a line" and len(lines) == 6
        rows = [line for line in lines if ".png," in line or ".bmp," in line or line.startswith("name,")]
        assert len(rows) == 4 and rows[0].startswith("name,")
    assert not (tmp_path / "-").exists()


def test_what_cannot_be_planned_is_said(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="nothing"):
        batch.plan(str(tmp_path / "empty"), str(tmp_path / "out"), is_png, str)
    with pytest.raises(UserError, match="nothing"):
        batch.plan(f"{photos}/*.gif", str(tmp_path / "out"), is_png, str)
    with pytest.raises(UserError, match="must be a folder"):
        batch.plan(str(photos), str(tmp_path / "file"), is_png, str)
    with pytest.raises(UserError, match="would both become"):
        batch.plan(str(photos), str(tmp_path / "out"), is_png, lambda name: "same")


def test_a_model_that_is_missing_is_one_line(script, photos, tmp_path):
    arguments = "--encoder_path=none.model", "--input_path", photos, "--output_path", tmp_path / "out"
    for jobs in 1, 2:
        done = script("encode.py", *arguments, f"--jobs={jobs}")
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and "none.model" in done.stderr
    assert not (tmp_path / "out").exists()


def begun(photos, out, jobs, *options):
    """encode.py at work on 60 photographs, and its arguments."""
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    Image.fromarray(pixels).save(photos.parent / "photo.bmp")
    for index in range(60):
        os.link(photos.parent / "photo.bmp", photos / f"{index}.bmp")
    arguments = [ENCODER, "--input_path", photos, "--output_path", out, f"--jobs={jobs}", *options]
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "encode.py"), *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=hears_ctrl_c,
        text=True,
    )
    return process, arguments


def wait_until(is_so):
    end = time.monotonic() + 120
    while time.monotonic() < end and not is_so():
        time.sleep(0.02)


def workers_of(process):
    """The numbers of its workers, once they are there."""
    found = []
    for number in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # of one that has ended
            about = [pathlib.Path("/proc", number, name).read_text() for name in ("status", "cmdline")]
            if f"PPid:\t{process.pid}\n" in about[0] and "spawn_main" in about[1]:
                found.append(int(number))
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for workers in /proc")
def test_an_end_while_workers_start_leaves_nothing_and_says_nothing(tmp_path):
    """They never hear of Ctrl-C, from their first moment on."""
    out = tmp_path / "out"
    process, _ = begun(tmp_path / "photos", out, 2)
    wait_until(lambda: len(workers_of(process)) == 2)
    states = [pathlib.Path("/proc", str(number), "status").read_text() for number in workers_of(process)]
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == ""
    blocked = [int(re.search(r"SigBlk:\s+(\w+)", state)[1], 16) for state in states]
    assert len(blocked) == 2 and all(signals >> (signal.SIGINT - 1) & 1 for signals in blocked)
    assert not out.exists() or all(name.endswith(".bmp.encoded") for name in os.listdir(out))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for workers in /proc")
def test_a_worker_that_is_ended_is_told(tmp_path):
    out = tmp_path / "out"
    process, _ = begun(tmp_path / "photos", out, 2)
    wait_until(lambda: out.exists() and len(os.listdir(out)) >= 3)
    os.kill(workers_of(process)[0], signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and errors.count("\n") == 1 and "a worker ended" in errors
    assert all(name.endswith(".bmp.encoded") for name in os.listdir(out))


@pytest.mark.parametrize(
    "jobs, number, code", [(1, signal.SIGINT, 130), (2, signal.SIGINT, 130), (2, signal.SIGTERM, 143)]
)
def test_an_end_leaves_whole_files_only_and_the_run_goes_on_later(script, tmp_path, jobs, number, code):
    photos, out = tmp_path / "photos", tmp_path / "out"
    summary = tmp_path / "summary.csv"
    process, arguments = begun(photos, out, jobs, f"--summary={summary}")
    wait_until(lambda: out.exists() and len(os.listdir(out)) >= 3)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code and errors == ""
    names = os.listdir(out)
    assert 3 <= len(names) < 60 and all(name.endswith(".bmp.encoded") for name in names)
    assert len({(out / name).read_bytes() for name in names}) == 1
    with open(summary, newline="") as file:
        told = {f"{row['name']}.encoded" for row in csv.DictReader(file)}
    # Workers that finish their files tell of them; else the end can come between a file and its row.
    untold = 0 if (jobs, number) == (2, signal.SIGINT) else jobs
    assert told <= set(names) and len(names) - len(told) <= untold
    for path in sorted(photos.iterdir())[:-5]:
        if path.name + ".encoded" not in names:
            path.unlink()
    assert script("encode.py", *arguments).returncode == 0
    assert len(os.listdir(out)) == len(os.listdir(photos))
