"""Small models with random weights: what the tests hold must be true of any weights."""

import dataclasses
import functools
import math
import os
import signal
import subprocess
import sys

import browser
import graphs
import numpy as np
import pytest
import torch
from PIL import Image

import codec
import model
import quantize
from coding import scales, tiles
from coding.config import ModelConfig
from coding.latents import HYPER_MODELS, IntegerLatents, Latents, symbols
from coding.modes import MODES
from coding.tiles import STRIDE
from engines import export, onnx_engine, tiled, torch_engine
from engines.model_file import ModelFile
from engines.pair import Decoder, Encoder
from networks import eye
from networks.entropy_model import untrained
from pictures.picture import Picture
from training.loss import Networks, RateDistortion

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

SIZES = {
    # So many that there are not integers for all of them.
    "hard": {"digits": (1,) * 40, "slices": (6, 10, 24), "stages": ((4, 1, 1), (4, 1, 0), (4, 1, 0))},
    "soft": {
        "digits": (1, 1, 1, 1, 1, 0),
        "slices": (1, 1, 4),
        "stages": ((4, 1, 1), (4, 1, 0), (4, 1, 0)),
    },
    "variable": {
        "digits": (1,) * 5,
        "slices": (1, 1, 1, 1, 1),
        "stages": ((4, 0, 1), (4, 1, 0), (4, 1, 0), (4, 1, 0)),
    },
}
STEPS = {"hard": 0.2, "soft": 0.2, "variable": 0.2}  # of quantization, for orthonormal components


def small_config(mode, trunk_width=4):
    widths = {"trunk_widths": (trunk_width,) * 3, "entropy_widths": (3, 8, 8)}
    return ModelConfig(mode, added_blocks=(1, 1, 1), **widths, **SIZES[mode])


def build_transforms(mode, seed=0, trunk_width=4):
    """Small analysis and synthesis transforms that reconstruct roughly, and their entropy model, as training
    has them."""
    torch.manual_seed(seed)
    config = small_config(mode, trunk_width)
    analysis, synthesis = model.AnalysisTransform(config).eval(), model.SynthesisTransform(config).eval()
    entropy_model = untrained(config)
    with torch.no_grad():
        make_linear_codec(analysis, synthesis, STEPS[mode])
        for layer in analysis.neck, synthesis.head, *entropy_model.last, *entropy_model.prediction:
            torch.nn.init.normal_(layer.weight, std=0.02 if layer in (analysis.neck, synthesis.head) else 0.1)
        if mode == "hard":
            analysis.neck.weight *= 500  # that all latents are something
        for name, parameter in (*analysis.named_parameters(), *synthesis.named_parameters()):
            if name == "gain" or "modulation" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        synthesis.scale.copy_(analysis(pictures(), torch.zeros(4)).std((0, 2, 3)).clamp_min(0.1))
        entropy_model.spread[0] = synthesis.scale.log2()
        for table in entropy_model.log_step.buffers():
            torch.nn.init.normal_(table, std=0.3)
    return analysis, synthesis, entropy_model


def trainable_networks(mode):
    """The same as a RateDistortion that can be trained anywhere.

    With fewer channels in the trunk the oneDNN of PyTorch 2.14 writes beyond the gradient of 1x1 convolutions
    of stride 2, channels last, on CPUs without AVX-512.
    """
    return RateDistortion(Networks(*build_transforms(mode, trunk_width=8)))


def make_linear_codec(analysis, synthesis, step):
    """Let the linear paths code the mean of each colour, and one component more if there is one."""
    channels = analysis.config.channels
    basis = torch.zeros(channels, 3, STRIDE, STRIDE)
    for channel in range(3):
        basis[channel, channel] = 1 / STRIDE
    if channels > 3:
        basis[3, :, : STRIDE // 2], basis[3, :, STRIDE // 2 :] = 3**-0.5 / STRIDE, -(3**-0.5) / STRIDE
    analysis.linear.weight.copy_((basis / step).flatten(1)[:, :, None, None])
    synthesis.linear.weight.copy_((basis * step).flatten(1).T[:, :, None, None])
    for layer in analysis.linear, synthesis.linear:
        torch.nn.init.zeros_(layer.bias)


def pictures():
    """Pixels (4, 3, 64, 64): squares of random colours, with noise."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.rand(4, 3, 4, 4, generator=random).repeat_interleave(16, 2).repeat_interleave(16, 3)
    return (pixels + 0.1 * torch.rand(4, 3, 64, 64, generator=random)).clamp(0, 1)


@functools.cache
def build_files(mode, seed=0):
    """The encoder's and the decoder's ModelFile of `build_transforms`.

    Those of the first seed lie beside the golden files, and give the others their graphs.
    """
    if seed == 0:
        return tuple(ModelFile.load(golden_model(mode, kind), kind) for kind in ("encoder", "decoder"))
    with graphs.borrowed():
        return export.finish(*build_transforms(mode, seed), pictures().split(1), MODES[mode].lambda_)


def golden_model(mode, kind):
    """The path of a small "encoder" or "decoder"."""
    return os.path.join(ROOT, "tests", "golden", f"{mode}_{kind}.model")


def open_pair(encoder, decoder, engine=torch_engine):
    """The Encoder and the Decoder of two files."""
    half = Decoder(decoder, engine.Transform(decoder, "cpu"), decoder.id)
    return Encoder(encoder, engine.Transform(encoder, "cpu"), lambda: half), half


def build_pair(mode, seed=0):
    """The Encoder and the Decoder of `build_transforms`, with PyTorch."""
    return open_pair(*build_files(mode, seed))


def tuned(encoder, tune):
    """An Encoder with the quantization steps of a tune, as if it were trained for it."""
    file = dataclasses.replace(encoder.file, tune=tune, coder=encoder.coder.tuned(tune))
    return dataclasses.replace(encoder, file=file)


def golden_form(data, decoder):
    """What is kept of a golden file: soft mode's integers in [0, 2^B], (D, h, w), or latents (h, w, K).

    Where the file keeps all pixels exactly, and so has no latents, it is the pixels.
    """
    encoded = codec.unpack(data, decoder)
    if not encoded.payload:
        return np.asarray(codec.decompress(data, decoder))
    y = joined(codec.decode_latents(encoded, decoder)).y
    if isinstance(decoder.config.kind, IntegerLatents):
        return integers_of(y, decoder.config).numpy().astype(np.int16)
    return y


def integers_of(y, config):
    """The integers b in [0, 2^B], a tensor (D, h, w), of soft mode's quantized latents y (h, w, K)."""
    nchw = torch.from_numpy(y).permute(2, 0, 1)[None]
    return quantize.to_integers(nchw, config.digits, config.B)[0]


def digits_of(coder, latents):
    """The integers b in [0, 2^B], a tensor (D,), of hard mode's latents, in coding order."""
    integers, contexts = symbols(coder.entropy_model, coder.kind, latents, 0.0)
    of_y = contexts >= len(HYPER_MODELS)
    level = (contexts[of_y] - len(HYPER_MODELS)) % scales.LEVELS
    B = MODES["hard"].bits
    assert (coder.kind.wanted[level] > 0).all()
    return quantize.to_digits(torch.from_numpy(integers[of_y]).double(), coder.kind.wanted[level].tolist(), B)


def slope(width, height, mode="RGB"):
    """A small smooth picture, whose pixels do not repeat as those of drawings do."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([7 * x + 3 * y, 5 * x + 9 * y, 40 + 3 * x + 2 * y], 2) % 256
    return Image.fromarray(rgb.astype(np.uint8)).convert(mode)


def psnr(image, reference):
    """PSNR in dB between two 8-bit Pillow images."""
    mse = np.mean((np.asarray(image, np.float64) - np.asarray(reference, np.float64)) ** 2)
    return 10 * math.log10(255**2 / mse) if mse else math.inf


@pytest.fixture(scope="session", params=["hard", "soft", "variable"])
def pair(request):
    return build_pair(request.param)


@pytest.fixture(scope="session", params=["hard", "soft"])
def fixed_pair(request):
    """Of a mode with one rate."""
    return build_pair(request.param)


@pytest.fixture(scope="session", params=["hard", "soft", "variable"])
def light_pair(request):
    """With ONNX Runtime."""
    return open_pair(*build_files(request.param), onnx_engine)


@pytest.fixture(scope="session")
def soft_pair():
    return build_pair("soft")


@pytest.fixture(scope="session")
def variable_pair():
    return build_pair("variable")


@pytest.fixture
def photo():
    """A smooth colour picture with an edge and some noise, uint8 (40, 56, 3)."""
    y, x = np.mgrid[0:40, 0:56]
    rgb = np.stack([x * 4, y * 6, (x + y) * 2], 2) + 40 * (x > 30)[:, :, None]
    return (rgb + np.random.default_rng(0).integers(0, 8, rgb.shape)).clip(0, 255).astype(np.uint8)


def distance_for_eye(image, original):
    """networks.eye.distance between two RGB images."""
    return eye.distance(*(pixels_of(one) for one in (image, original))).item()


def pixels_of(image):
    """Pixels (1, 3, H, W) in [0, 1] of an RGB image."""
    return torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)[None] / 255


@pytest.fixture
def script():
    """Run one of the scripts as a user would: script("encode.py", ...) -> CompletedProcess."""

    def run(*args, cwd=ROOT, **options):
        command = [sys.executable, os.path.join(ROOT, args[0]), *map(str, args[1:])]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, **options)

    return run


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A headless browser, where there is one."""
    driver = browser.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def hears_ctrl_c():
    """What a process does first that is sent SIGINT: a shell's background job would ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def picture_of(rgb):
    return Picture.from_image(Image.fromarray(rgb))


def analyse(rgb, encoder, **options):
    """The real latents of pixels (H, W, 3) at t = 0, all at once."""
    rows = slice(0, -(-len(rgb) // STRIDE))
    return tiled.analyse(picture_of(rgb), rows, 0.0, encoder, tiles.bar(0, False), **options)


def synthesise(y, decoder, **options):
    """The pixels (16 h, 16 w, 3) of latents (h, w, K) at t = 0, all at once."""
    return tiled.synthesise(y, slice(0, len(y)), 0.0, decoder, tiles.bar(0, False), **options)


def joined(stripes):
    """The Latents of a whole picture."""
    parts = list(stripes)
    return Latents(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "z")))
