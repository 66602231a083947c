"""Seconds of the entropy coder with its engines, and of the whole codec beside its networks."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

import codec
from coding import engine_package, entropy, latents, tiles
from engines.pair import Decoder, Encoder, shipped
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


def load(mode: str) -> tuple[Encoder, Decoder]:
    """The shipped pair of a mode."""
    encoder = Encoder.load(shipped(mode, "encoder"))
    return encoder, Decoder.load(shipped(mode, "decoder"))


def seconds(function: Callable, repeats: int = REPEATS) -> float:
    """The least time of `repeats` calls, which other work on the machine disturbs least."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def time_codec(image: Image.Image, encoder: Encoder, decoder: Decoder) -> Seconds:
    """The Seconds of a pair on an image."""
    data = codec.compress(image, encoder)
    x = tiles.to_input(tiles.pad(Picture.from_image(image).rgb)) / np.float32(255)
    y = encoder.transform(x, 0.0)[0]
    return Seconds(
        seconds(lambda: codec.compress(image, encoder)),
        seconds(lambda: codec.decompress(data, decoder)),
        seconds(lambda: encoder.transform(x, 0.0)),
        seconds(lambda: decoder.transform(y, 0.0)),
    )


def coder_lines(image: Image.Image, encoder: Encoder) -> Iterator[str]:
    """Lines that say how long two engines take for the integers of an image in hard or soft mode: the fastest
    and the package.

    The integers are coded with the trained models, and for comparison all with one model of equal shares.
    """
    config, coder = encoder.config, encoder.coder
    real = codec.analyse(Picture.from_image(image).rgb, 0.0, encoder)
    integers, contexts = latents.symbols(coder.entropy_model, coder.kind, real, 0.0)
    yield from _engine_lines(f"{config.quantize_mode}, bank", integers, contexts, coder.bank)

    digits = (np.rint(real.y) + 2 ** (config.B - 1)).astype(np.int32).clip(0, 2**config.B).ravel()
    symbols = 2**config.B + 2  # and the escape
    uniform = np.full((1, symbols), entropy.SCALE // symbols, np.int16)
    one_model = entropy.Bank(np.zeros(1, np.int32), uniform)
    yield from _engine_lines(f"{config.quantize_mode}, one model", digits, np.zeros_like(digits), one_model)


def _engine_lines(name, integers, contexts, bank):
    fastest = entropy.default_engine()
    payload = entropy.encode(integers, contexts, bank, fastest)

    def encode(engine):
        entropy.encode(integers, contexts, bank, engine)

    def decode(engine):
        entropy.Reader(payload, bank, engine).read(contexts)

    for way in encode, decode:
        compiled = seconds(functools.partial(way, fastest))
        package = seconds(functools.partial(way, engine_package), repeats=1)
        yield (
            f"{name}, {way.__name__} {integers.size} integers, {len(payload)} bytes: "
            f"compiled {1000 * compiled:.1f} ms, package {package:.2f} s, ratio {package / compiled:.0f}"
        )
