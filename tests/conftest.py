"""Small models with random weights: what the tests hold must be true of any weights."""
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import exact
import model
import start
import train


def build_pair(mode, seed=0):
    """A small encoder and decoder that reconstruct roughly, with their bank."""
    torch.manual_seed(seed)
    sizes = {"widths": (4, 4, 4), "entropy_widths": (3, 8, 8)}
    config = model.VariableConfig(digits=(1,) * 4, slices=(1, 1, 1, 1), **sizes) if mode == "variable" else \
        model.ContextConfig("hard", 2, digits=(2, 1, 1), slices=(1, 1, 1), **sizes) if mode == "hard" else \
        model.ContextConfig("soft", 10, digits=(1,) * 4, slices=(1, 1, 2), **sizes)
    encoder, decoder = model.build("encoder", config).eval(), model.build("decoder", config).eval()
    pixels = torch.rand(4, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    pixels = (pixels + 0.1 * torch.rand(4, 3, 64, 64)).clamp(0, 1)
    start.principal_components(encoder, decoder, pixels, step=2.0 if mode == "hard" else 0.2)
    for layer in encoder.neck, decoder.head:
        torch.nn.init.normal_(layer.weight, std=0.02)
    start.set_scale(encoder, decoder, pixels)
    for parameter in (layer.weight for layer in (*encoder.context.last, *encoder.context.prediction)):
        torch.nn.init.normal_(parameter, std=0.1)
    if mode == "variable":
        for parameter in (encoder.gain, *decoder.modulation):
            torch.nn.init.normal_(parameter, std=0.1)
    decoder.context = encoder.context
    for module in encoder, decoder:
        module.load_state_dict({name: t.half().to(t.dtype) for name, t in module.state_dict().items()})
    images = [(image.permute(1, 2, 0) * 255).byte().numpy() for image in pixels]
    with torch.inference_mode():
        bank = train.fit_bank(encoder, images)
    encoder.bank = decoder.bank = {"lowest": torch.from_numpy(bank.lowest),
                                   "frequencies": torch.from_numpy(bank.frequencies)}
    exact.freeze(encoder.context)
    encoder.model_id = decoder.model_id = model.compute_id(decoder)
    return encoder, decoder


def plain_pair():
    """An encoder and a decoder of an earlier version: soft mode without an entropy model."""
    torch.manual_seed(0)
    encoder, decoder = model.Encoder(model.ModelConfig("soft", 10)).eval(), model.Decoder(model.ModelConfig("soft", 10)).eval()
    encoder.linear.weight.data *= 20
    encoder.bank = decoder.bank = {"lowest": torch.full((32,), 511, dtype=torch.int32),
                                   "frequencies": torch.full((32, 4), 1024, dtype=torch.int16)}
    encoder.model_id = decoder.model_id = model.compute_id(decoder)
    return encoder, decoder


@pytest.fixture(scope="session", params=["hard", "soft", "variable"])
def pair(request):
    return build_pair(request.param)


@pytest.fixture(scope="session", params=["hard", "soft"])
def classic_pair(request):
    return build_pair(request.param)


@pytest.fixture(scope="session")
def soft_pair():
    return build_pair("soft")


@pytest.fixture
def photo():
    """A smooth colour picture with an edge and some noise, uint8 (40, 56, 3)."""
    y, x = np.mgrid[0:40, 0:56]
    rgb = np.stack([x * 4, y * 6, (x + y) * 2], 2) + 40 * (x > 30)[:, :, None]
    return (rgb + np.random.default_rng(0).integers(0, 8, rgb.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def script():
    """Run one of the scripts as a user would: script("encode.py", ...) -> CompletedProcess."""
    def run(*args, cwd=ROOT, **options):
        command = [sys.executable, os.path.join(ROOT, args[0]), *map(str, args[1:])]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, **options)
    return run
