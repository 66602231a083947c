"""Seconds of the entropy coder with both of its engines, and of the whole codec beside its networks."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image

import codec
import model
import quantize
from coding import engine_compiled, engine_package, entropy, latents, tiles
from picture import Picture

REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Of the codec on an image.

    encode, decode: as a whole
    analysis, synthesis: of the networks alone
    """

    encode: float
    decode: float
    analysis: float
    synthesis: float

    @property
    def whole(self) -> float:
        """Encoding and decoding."""
        return self.encode + self.decode

    def line(self, name: str) -> str:
        """A line that says them."""
        return (
            f"{name}, whole encode {self.encode:.3f} s, {self.encode / self.analysis:.2f} times its network, "
            f"whole decode {self.decode:.3f} s, {self.decode / self.synthesis:.2f} times, "
            f"both {self.whole / (self.analysis + self.synthesis):.2f} times"
        )


def load(mode: str) -> tuple[model.Encoder, model.Decoder]:
    """The shipped pair of a mode."""
    encoder = model.Encoder.load(model.shipped(mode, "encoder"))
    return encoder, model.Decoder.load(model.shipped(mode, "decoder"))


def seconds(function: Callable, repeats: int = REPEATS) -> float:
    """The least time of `repeats` calls, which other work on the machine disturbs least."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


@torch.inference_mode()
def time_codec(image: Image.Image, encoder: model.Encoder, decoder: model.Decoder) -> Seconds:
    """The Seconds of a pair on an image."""
    data = codec.compress(image, encoder)
    x = tiles.to_tensor(tiles.pad(Picture.from_image(image).rgb), encoder.device) / 255
    t = torch.zeros(1)
    y = encoder.transform(x, t)
    return Seconds(
        seconds(lambda: codec.compress(image, encoder)),
        seconds(lambda: codec.decompress(data, decoder)),
        seconds(lambda: encoder.transform(x, t)),
        seconds(lambda: decoder.transform(y, t)),
    )


def coder_lines(image: Image.Image, encoder: model.Encoder) -> Iterator[str]:
    """Lines that say how long both engines take for the integers of an image in hard or soft mode.

    The integers are coded with the trained models, and for comparison all with one model of equal shares.
    """
    config, coder = encoder.config, encoder.coder
    real = codec.analyse(Picture.from_image(image).rgb, 0.0, encoder)
    integers, contexts = latents.symbols(coder.entropy_model, coder.kind, real, 0.0)
    yield from _engine_lines(f"{config.quantize_mode}, bank", integers, contexts, coder.bank)

    digits = quantize.to_integers(real.y.round(), config.digits, config.B).int().numpy().ravel()
    symbols = 2**config.B + 2  # and the escape
    uniform = np.full((1, symbols), entropy.SCALE // symbols, np.int16)
    one_model = entropy.Bank(np.zeros(1, np.int32), uniform)
    yield from _engine_lines(f"{config.quantize_mode}, one model", digits, np.zeros_like(digits), one_model)


def _engine_lines(name, integers, contexts, bank):
    payload = entropy.encode(integers, contexts, bank, engine_compiled)

    def encode(engine):
        entropy.encode(integers, contexts, bank, engine)

    def decode(engine):
        entropy.Reader(payload, bank, engine).read(contexts)

    for way in encode, decode:
        compiled = seconds(functools.partial(way, engine_compiled))
        package = seconds(functools.partial(way, engine_package), repeats=1)
        yield (
            f"{name}, {way.__name__} {integers.size} integers, {len(payload)} bytes: "
            f"compiled {1000 * compiled:.1f} ms, package {package:.2f} s, ratio {package / compiled:.0f}"
        )
