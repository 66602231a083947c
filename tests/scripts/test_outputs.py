"""Where outputs of the scripts go, what is refused before any work, and that telling of them is no work."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import decode
import encode
from coding.errors import UserError
from conftest import ROOT, golden_model, hears_ctrl_c

MODELS = {
    encode: f"--encoder_path={golden_model('variable', 'encoder')}",
    decode: f"--decoder_path={golden_model('variable', 'decoder')}",
}


@pytest.fixture
def run(monkeypatch):
    """Run a script in this process: run(encode, input, output, ...)."""

    def main(script, source, output, *more):
        options = [f"--input_path={source}", f"--output_path={output}", MODELS[script], *map(str, more)]
        monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *options])
        script.main()

    return main


@pytest.fixture
def image(tmp_path):
    """A small PNG file."""
    return save_image(tmp_path / "a.png")


def save_image(path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def error_of(run, *args):
    with pytest.raises(UserError) as caught:
        run(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_output_that_is_the_input_is_refused_by_any_name(run, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "soft").symlink_to("a.png")
    os.link(image, tmp_path / "hard")
    (tmp_path / "folder").symlink_to(tmp_path)
    before = image.read_bytes()
    monkeypatch.setattr(encode, "encode", None)  # no work is begun
    monkeypatch.setattr(decode, "decode", None)
    for name in image, "a.png", "./a.png", "soft", "hard", "folder/a.png":
        for script in encode, decode:
            for pair in (image, name), (name, image):
                assert "is the input" in error_of(run, script, *pair)
    assert image.read_bytes() == before and sorted(os.listdir()) == ["a.png", "folder", "hard", "soft"]


def test_an_output_that_will_be_the_input_is_refused(run, image, tmp_path):
    """Through a folder that the work would make."""
    before = image.read_bytes()
    for script in encode, decode:
        assert "is the input" in error_of(run, script, image, tmp_path / "new" / ".." / "a.png")
    assert image.read_bytes() == before and not (tmp_path / "new").exists()


def test_a_file_in_the_place_of_a_folder_is_told_before_the_work(run, image, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "encode", None)
    assert "in the place of its folder" in error_of(run, encode, image, image / "a.encoded")
    monkeypatch.setattr(os, "access", lambda path, mode: not os.path.isdir(path))
    assert "write-protected" in error_of(run, encode, image, tmp_path / "new" / "a.encoded")


def test_no_output_of_a_folder_is_one_of_its_inputs(run, image, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir(), out.mkdir()
    for name in "a.png", "b.png":
        save_image(photos / name)
    (out / "a.png.encoded").symlink_to(photos / "b.png")
    assert f"is the input {photos}/b.png" in error_of(run, encode, photos, out, "--overwrite")
    (out / "a.png.encoded").unlink()
    (out / "a.png.encoded").symlink_to(out / "b.png.encoded")
    assert "would both become" in error_of(run, encode, photos, out)
    assert os.listdir(out) == ["a.png.encoded"]


def test_a_folder_takes_a_file_under_its_mirrored_name(run, image, tmp_path):
    run(encode, image, f"{tmp_path}/new/")
    run(encode, image, tmp_path / "new")  # which is there now
    assert os.listdir(tmp_path / "new") == ["a.png.encoded"]
    (tmp_path / "back.jpg").mkdir()
    run(decode, tmp_path / "new" / "a.png.encoded", tmp_path / "back.jpg")
    assert Image.open(tmp_path / "back.jpg" / "a.png.png").size == (40, 24)
    assert "needs a name" in error_of(run, encode, "-", f"{tmp_path}/new/")
    (tmp_path / "new" / "a.png.png").mkdir()
    text = error_of(run, decode, tmp_path / "new" / "a.png.encoded", tmp_path / "new")
    assert text == f"{tmp_path}/new/a.png.png: is a folder"
    assert "must be a folder" in error_of(run, encode, tmp_path, "-")


def test_a_folder_in_the_place_of_an_output_is_no_output(run, image, tmp_path, capsys):
    (tmp_path / "out" / "a.png.encoded").mkdir(parents=True)
    with pytest.raises(UserError, match="1 of 1"):
        run(encode, tmp_path, tmp_path / "out")
    assert "a.png.encoded: is a folder" in capsys.readouterr().err


def test_a_summary_that_cannot_be_written_is_told_before_the_work(run, image, tmp_path):
    assert "is a folder" in error_of(run, encode, tmp_path, tmp_path / "out", "--summary", tmp_path)
    assert not (tmp_path / "out").exists()


NAMES = [
    "-a.png",
    "a  b\n.png",
    "100%d{}.png",
    "a[1].png",
    "*.png",
    b"\xff.png".decode(errors="surrogateescape"),
]


def test_odd_names_are_names(run, tmp_path, monkeypatch):
    photos, out, back = (tmp_path / name for name in ("[photos]", "*out", "{}back"))
    photos.mkdir()
    for name in NAMES:
        save_image(photos / name)
    run(encode, photos, out, "--summary", tmp_path / "%.csv")
    run(decode, out, back)
    assert sorted(os.listdir(back)) == sorted(f"{name}.png" for name in NAMES)
    rows = (tmp_path / "%.csv").read_bytes()
    assert all(os.fsencode(name) in rows for name in NAMES)
    monkeypatch.chdir(photos)
    for name in NAMES:
        run(encode, name, f"{name}.encoded")
        run(decode, f"{name}.encoded", f"{name}.new.png")
        assert Image.open(f"{name}.new.png").size == (40, 24)


def test_an_error_names_the_file(run, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(b"text")  # a name that is in any message
    (tmp_path / "empty").touch()
    run(encode, image, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-9])
    os.symlink(golden_model("hard", "encoder"), tmp_path / "hard")
    for script, name in (encode, "a"), (encode, "empty"), (decode, "a"), (decode, "empty"), (decode, "cut"):
        assert error_of(run, script, name, "out.png").startswith(f"{name}: ")
    assert error_of(run, decode, "whole", "out.png", "--quantize_mode=hard").startswith("whole: ")
    assert error_of(run, encode, "a.png", "out", "--encoder_path=a").startswith("a: ")
    other = f"--decoder_path={golden_model('hard', 'decoder')}"
    assert error_of(run, decode, "whole", "out.png", other).startswith("whole: the file needs the decoder")
    monkeypatch.setattr(sys, "argv", ["decode.py", "--info", "a"])
    with pytest.raises(UserError, match=r"^a: not"):
        decode.main()
    save_image(tmp_path / "x.png")
    assert error_of(run, encode, "x.png", "whole/out").startswith("whole/out: a file is in the place")
    assert not [name for name in os.listdir() if name.startswith("out")]


def test_a_picture_that_a_format_does_not_hold_names_the_output(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGBA", (40, 24), (1, 2, 3, 4)).save("a.png")
    run(encode, "a.png", "a.encoded")
    assert error_of(run, decode, "a.encoded", "a.icns").startswith("a.icns: ")
    assert sorted(os.listdir()) == ["a.encoded", "a.png"]


def test_pipes_and_devices_are_inputs_and_outputs(run, image, tmp_path):
    run(encode, image, tmp_path / "whole", "--quiet")
    packed = (tmp_path / "whole").read_bytes()
    reading, writing = os.pipe()
    os.write(writing, image.read_bytes()), os.close(writing)
    run(encode, f"/dev/fd/{reading}", tmp_path / "piped", "--quiet")
    os.close(reading)
    assert (tmp_path / "piped").read_bytes() == packed
    run(encode, image, os.devnull)
    run(decode, tmp_path / "whole", os.devnull)
    assert not os.path.isfile(os.devnull)
    reading, writing = os.pipe()
    run(decode, tmp_path / "whole", f"/dev/fd/{writing}")
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert Image.open(pipe).size == (40, 24)


def test_a_pipe_and_a_lost_link_in_a_folder_stop_nothing(run, image, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("nowhere")
    with pytest.raises(UserError, match="1 of 2"):
        run(encode, tmp_path, tmp_path / "out")
    assert f"warning: {tmp_path}/link.png: No such file" in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == ["a.png.encoded"]


def shell(text, **variables):
    """Run a line of the shell, in which $encode and $decode are the scripts with small models."""
    for script, model in MODELS.items():
        variables[script.__name__] = f"{sys.executable} {ROOT}/{script.__name__}.py {model}"
    environment = os.environ | variables | {"PYTHONUNBUFFERED": ""}  # what is kept for later can fail later
    return subprocess.run(["bash", "-c", text], env=environment, capture_output=True, timeout=60)


ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}


@pytest.mark.parametrize("redirection", ["", ">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full"])
def test_what_cannot_be_printed_is_no_failure(tmp_path, redirection):
    """A report and a warning; names that are not ASCII where the output is."""
    name = os.fsdecode(os.fsencode("ä") + b"\xff")
    source, output = save_image(tmp_path / name), tmp_path / f"{name}.encoded"
    line = f'$encode --input_path="$source" --output_path="$output" --target_bpp=50 {redirection}'
    done = shell(line, source=str(source), output=str(output), **ASCII)
    assert done.returncode == 0 and b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    assert output.read_bytes()[1:4] == b"ACM" and len(os.listdir(tmp_path)) == 2
    if not redirection:
        assert done.stdout.startswith(f"{tmp_path}/\\xe4\\udcff.encoded: ".encode())
        assert b"warning: " in done.stderr and b"instead of 50" in done.stderr


def test_what_is_printed_as_the_work_itself_must_be_printed(image, tmp_path):
    assert shell("$encode --input_path=$image --output_path=$image.encoded", image=str(image)).returncode == 0
    line = "$decode --info $image.encoded > /dev/full"
    done = shell(line, image=str(image))
    assert (done.returncode, done.stderr) == (1, b"decode.py: error: No space left on device\n")
    done = shell("$encode --input_path=$image --output_path=- >&-", image=str(image))
    assert (done.returncode, done.stderr) == (1, b"encode.py: error: -: Bad file descriptor\n")


def test_data_and_report_do_not_mix(image):
    line = "$encode --input_path=$image --output_path=$output"
    done = [shell(line, image=str(image), output=output) for output in ("-", "/dev/stdout")]
    assert len({one.stdout for one in done}) == 1 and all(b" bpp" in one.stderr for one in done)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_told_to_end_leaves_nothing_of_his_own(tmp_path, number, code):
    (tmp_path / ".01234567.tmp").write_bytes(b"of another process")
    text = (
        "import sys, time, cli; from coding import files\n"
        "def main():\n"
        "    with files.replacing(sys.argv[1]) as temporary, open(temporary, 'w') as file:\n"
        "        print(file=file, flush=True); print('ready', flush=True); time.sleep(60)\n"
        "cli.run(main)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text, tmp_path / "a"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hears_ctrl_c,
    )
    assert process.stdout.readline() == b"ready\n" and len(os.listdir(tmp_path)) == 2
    process.send_signal(number)
    output = process.communicate(timeout=60)
    assert process.returncode == code and output == (b"", b"")
    assert os.listdir(tmp_path) == [".01234567.tmp"]
