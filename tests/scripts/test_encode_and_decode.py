"""The scripts as a user runs them, with the shipped models."""

import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

import codec
from coding.errors import message_of
from coding.modes import MODES
from conftest import ROOT, psnr
from engines import onnx_engine, shipped
from engines.pair import Decoder, Encoder


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


LENA = os.path.join(ROOT, "resources/test_images/lena.png")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """lena.encoded in hard mode, made once."""
    path = tmp_path_factory.mktemp("encoded") / "lena.encoded"
    encoder = Encoder.load(shipped.path("hard", "encoder"))
    path.write_bytes(codec.compress(Image.open(LENA), encoder))
    return path


@pytest.mark.parametrize("mode, B, floor, bpp", [("soft", 10, 25.65, 1.23), ("hard", 2, 25.19, 0.243)])
def test_the_documented_commands(tmp_path, script, mode, B, floor, bpp):
    for folder in "models", "resources":
        os.symlink(os.path.join(ROOT, folder), tmp_path / folder)
    made = script(
        "encode.py",
        "--input_path=resources/test_images/lena.png",
        f"--output_path=made/encoded/B={B}/lena.encoded",
        f"--encoder_path=models/model_B={B}/encoder.model",
        f"--quantize_mode={mode}",
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    assert made.stderr == "" and re.fullmatch(r"\S+: \d+ bytes, 0\.\d+ bpp, \d+\.\d+ s\n", made.stdout)
    back = script(
        "decode.py",
        "--output_path",
        "made/results/lena_reconstructed.png",
        "--input_path",
        f"made/encoded/B={B}/lena.encoded",
        "--decoder_path",
        f"models/model_B={B}/decoder.model",
        "--quantize_mode",
        mode,
        cwd=tmp_path,
    )
    assert back.returncode == 0 and back.stderr == "", back.stderr
    original, result = Image.open(LENA), Image.open(tmp_path / "made/results/lena_reconstructed.png")
    size = os.path.getsize(tmp_path / f"made/encoded/B={B}/lena.encoded")
    assert psnr(result, original) >= floor
    assert 8 * size / 512**2 <= bpp


def test_two_paths_are_enough_and_quiet_is_quiet(tmp_path, script):
    Image.open(LENA).crop((0, 0, 77, 50)).save(tmp_path / "a.webp")
    made = script(
        "encode.py", "--input_path", tmp_path / "a.webp", "--output_path", tmp_path / "a.encoded", "--quiet"
    )
    back = script(
        "decode.py", "--input_path", tmp_path / "a.encoded", "--output_path", tmp_path / "a.jpg", "--quiet"
    )
    assert (
        (made.returncode, made.stdout, made.stderr)
        == (back.returncode, back.stdout, back.stderr)
        == (0, "", "")
    )
    assert Image.open(tmp_path / "a.jpg").size == (77, 50)


def test_info_prints_the_header_without_packages(encoded, script):
    result = script("decode.py", "--info", encoded)
    header = json.loads(result.stdout)
    assert header["width"] == header["height"] == 512 and header["quantize_mode"] == "hard"
    assert header["bytes"] == encoded.stat().st_size
    bare = [sys.executable, "-S", "decode.py", "--info", encoded]  # which finds no packages
    assert subprocess.run(bare, cwd=ROOT, check=True, capture_output=True, text=True).stdout == result.stdout


@pytest.mark.parametrize("name", ["encode.py", "decode.py"])
def test_the_scripts_do_not_import_torchvision(name, tmp_path, encoded):
    (source, target) = (
        (LENA, tmp_path / "out.encoded") if name == "encode.py" else (encoded, tmp_path / "out.png")
    )
    code = (
        "import sys; "
        f"sys.argv = [{name!r}, '--input_path', {str(source)!r}, '--output_path', {str(target)!r}]; "
        f"import {name[:-3]} as script; script.main(); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("name", ["encode.py", "decode.py"])
def test_help_shows_examples(name, script):
    result = script(name, "--help")
    assert result.returncode == 0 and f"python3 {name}" in result.stdout


def refused(result, *outputs):
    """One line on stderr, exit code 1, no output and nothing left beside it."""
    assert result.returncode == 1, result.stderr
    assert result.stdout == "" and len(result.stderr.splitlines()) == 1 and "error: " in result.stderr
    for output in outputs:
        assert not os.path.exists(output)
        folder = os.path.dirname(output)
        assert not os.path.isdir(folder) or not [n for n in os.listdir(folder) if n.endswith(".tmp")]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,  # missing
        lambda path: path.write_text("not an image"),
        lambda path: path.write_bytes(open(LENA, "rb").read()[:20_000]),  # truncated
        lambda path: path.mkdir(),
    ],
    ids=["missing", "no image", "truncated", "directory"],
)
def test_encode_refuses_bad_input(tmp_path, script, make):
    make(tmp_path / "in.png")
    output = tmp_path / "out.encoded"
    refused(script("encode.py", "--input_path", tmp_path / "in.png", "--output_path", output), output)


def test_decode_refuses_bad_input(tmp_path, script, encoded):
    data, output = encoded.read_bytes(), tmp_path / "out.png"
    for content in [b"", data[:100], data[:-1], data[:900] + b"x" + data[901:], b"text " * 30]:
        (tmp_path / "in.encoded").write_bytes(content)
        refused(script("decode.py", "--input_path", tmp_path / "in.encoded", "--output_path", output), output)
        refused(script("decode.py", "--info", tmp_path / "in.encoded"))
    refused(script("decode.py", "--input_path", tmp_path / "none", "--output_path", output), output)


def test_decode_refuses_a_contradiction(tmp_path, script, encoded):
    output = tmp_path / "out.png"
    decode = ["decode.py", "--input_path", encoded, "--output_path", output]
    refused(script(*decode, "--quantize_mode=soft"), output)
    refused(script(*decode, "--decoder_path", os.path.join(ROOT, "models/model_B=10/decoder.model")), output)
    refused(script(*decode, "--decoder_path", os.path.join(ROOT, "models/model_B=2/encoder.model")), output)
    refused(
        script(
            "encode.py",
            "--input_path",
            LENA,
            "--output_path",
            output,
            "--quantize_mode=soft",
            "--encoder_path",
            os.path.join(ROOT, "models/model_B=2/encoder.model"),
        ),
        output,
    )


def test_outputs_that_cannot_be_written_are_refused(tmp_path, script, encoded):
    (tmp_path / "file").write_text("kept")
    for output in [tmp_path / "file" / "out.png", tmp_path / "out.docx", tmp_path / "out"]:
        refused(script("decode.py", "--input_path", encoded, "--output_path", output), output)
    refused(script("encode.py", "--input_path", LENA, "--output_path", tmp_path / "file" / "out"))
    assert (tmp_path / "file").read_text() == "kept"


def test_a_model_with_code_is_refused_and_not_run(tmp_path, script, encoded):
    (tmp_path / "evil.model").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    output = tmp_path / "out.png"
    refused(
        script(
            "decode.py",
            "--input_path",
            encoded,
            "--output_path",
            output,
            "--decoder_path",
            tmp_path / "evil.model",
        ),
        output,
    )
    refused(
        script(
            "encode.py",
            "--input_path",
            LENA,
            "--output_path",
            output,
            "--encoder_path",
            tmp_path / "evil.model",
        ),
        output,
    )
    assert not (tmp_path / "trace").exists()


def jpeg_of_size(image, size):
    """PSNR in dB of the best JPEG file of no more than `size` bytes."""
    best = 0
    for quality in range(1, 96):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        if len(file.getvalue()) <= size:
            best = max(best, psnr(Image.open(file), image))
    return best


def test_quality_and_target_bpp_choose_the_rate_of_the_default_mode(tmp_path, script):
    original = Image.open(LENA).crop((100, 100, 356, 292))
    original.save(tmp_path / "a.png")
    bpp = {}
    for options in "--quality=2", "--quality=6.5", "", "--target_bpp=0.5":
        encoded = script(
            "encode.py",
            "--input_path",
            tmp_path / "a.png",
            "--output_path",
            tmp_path / "a.encoded",
            *options.split(),
        )
        decoded = script(
            "decode.py", "--input_path", tmp_path / "a.encoded", "--output_path", tmp_path / "b.png"
        )
        assert (encoded.returncode, encoded.stderr, decoded.returncode, decoded.stderr) == (0, "", 0, "")
        bpp[options] = 8 * (tmp_path / "a.encoded").stat().st_size / (256 * 192)
        assert psnr(Image.open(tmp_path / "b.png"), original) > jpeg_of_size(
            original, (tmp_path / "a.encoded").stat().st_size
        )
    assert bpp["--quality=2"] < 0.6 * bpp["--quality=6.5"] and bpp[""] == bpp["--quality=6.5"]
    assert bpp["--target_bpp=0.5"] == pytest.approx(0.5, rel=0.02)
    far = script(
        "encode.py",
        "--input_path",
        tmp_path / "a.png",
        "--output_path",
        tmp_path / "a.encoded",
        "--target_bpp=50",
    )
    assert far.returncode == 0 and "instead of 50" in far.stderr


@pytest.mark.parametrize(
    "mode, option", [("hard", "--quality=3"), ("soft", "--target_bpp=1"), ("hard", "--target_ssimulacra2=70")]
)
def test_options_of_another_mode_are_refused(tmp_path, script, mode, option):
    arguments = "--input_path", LENA, "--output_path", tmp_path / "out", option
    model = f"--encoder_path={shipped.path(mode, 'encoder')}"
    refused(script("encode.py", *arguments, model), tmp_path / "out")
    assert script("encode.py", *arguments, f"--quantize_mode={mode}").returncode == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--quality=0"],
        ["--quality=11"],
        ["--quality=nan"],
        ["--target_bpp=0"],
        ["--target_bpp=inf"],
        ["--target_bpp=-1"],
        ["--quality=3", "--target_bpp=1"],
        ["--target_ssimulacra2=100.5"],
        ["--target_ssimulacra2=-1"],
        ["--target_ssimulacra2=nan"],
        ["--target_ssimulacra2=good"],
        ["--target_ssimulacra2=70", "--quality=3"],
        ["--target_ssimulacra2=70", "--lossless"],
        ["--effort=-1"],
        ["--quality=good"],
        ["--output_path="],
        ["--input_path=/dev/stdin", "--summary=a.csv"],
    ],
)
def test_values_out_of_range_are_wrong_usage(script, options):
    assert script("encode.py", "--input_path=a", "--output_path=b", *options).returncode == 2


@pytest.mark.parametrize("args", [[], ["--quantize_mode=medium"], ["--input_path=a"]])
def test_wrong_usage_exits_with_2(script, args):
    for name in "encode.py", "decode.py":
        assert script(name, *args).returncode == 2


def test_effort_finds_the_decoder_beside_the_encoder(tmp_path, script):
    original = Image.open(LENA).crop((200, 200, 296, 280))
    original.save(tmp_path / "a.png")
    losses = []
    for effort in [], ["--effort=30"]:
        encoded = script(
            "encode.py",
            "--input_path",
            tmp_path / "a.png",
            "--output_path",
            tmp_path / "a.encoded",
            "--quantize_mode=soft",
            *effort,
        )
        decoded = script(
            "decode.py", "--input_path", tmp_path / "a.encoded", "--output_path", tmp_path / "b.png"
        )
        assert (encoded.returncode, encoded.stderr, decoded.returncode) == (0, "", 0)
        mse = 255**2 * 10 ** (-psnr(Image.open(tmp_path / "b.png"), original) / 10)
        losses.append(MODES["soft"].lambda_ * mse + 8 * (tmp_path / "a.encoded").stat().st_size / (96 * 80))
    assert losses[1] < 0.98 * losses[0]

    (tmp_path / "model").mkdir()
    shutil.copy(os.path.join(ROOT, "models/model_B=2/encoder.model"), tmp_path / "model")
    encode = [
        "encode.py",
        "--input_path",
        tmp_path / "a.png",
        "--output_path",
        tmp_path / "new.encoded",
        "--encoder_path",
        tmp_path / "model/encoder.model",
        "--effort=1",
    ]
    refused(script(*encode), tmp_path / "new.encoded")
    shutil.copy(os.path.join(ROOT, "models/model_B=10/decoder.model"), tmp_path / "model")
    refused(script(*encode), tmp_path / "new.encoded")


def test_a_fault_of_the_program_is_no_error_of_the_user():
    """It asks for a report, and shows where it comes from when it is told to."""
    code = "import sys; sys.argv = ['encode.py']; import cli; cli.run(lambda: [][0])"
    for debug in "", "1":
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "AUTOCOMPRESSOR_DEBUG": debug},
        )
        *trace, line = result.stderr.splitlines()
        assert result.returncode == 1 and line.startswith(
            "encode.py: error: a fault of the program, IndexError"
        )
        assert "AUTOCOMPRESSOR_DEBUG=1" in line and bool(trace) == bool(debug)


def test_a_lack_of_memory_is_no_fault_of_the_program():
    code = "import sys; sys.argv = ['encode.py']; import cli, torch; cli.run(lambda: torch.empty(1 << 50))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr == "encode.py: error: not enough memory\n"


@pytest.mark.parametrize("error", [MemoryError("std::bad_alloc"), RuntimeError("Failed to allocate memory")])
def test_a_lack_of_memory_is_no_fault_of_a_model(monkeypatch, error):
    def session(*args, **options):
        raise error

    monkeypatch.setattr(onnx_engine.onnxruntime, "InferenceSession", session)
    with pytest.raises(type(error)) as raised:
        Decoder.load(shipped.path("hard", "decoder"), engine="onnx")
    assert message_of(raised.value) == "not enough memory"


@pytest.mark.parametrize("threads", ["", "1,1", "many"])
def test_any_number_of_threads_is_taken(script, tmp_path, threads):
    arguments = "--input_path", LENA, "--output_path", tmp_path / "a.encoded", "--quiet"
    done = script("encode.py", *arguments, env={**os.environ, "OMP_NUM_THREADS": threads})
    assert done.returncode == 0
