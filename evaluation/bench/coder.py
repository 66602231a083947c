"""The arithmetic coder alone: ours, compiled and as a package, and constriction's, on the same symbols."""

import importlib
import importlib.util
import logging
from collections.abc import Iterable, Iterator
from types import ModuleType

import numpy as np
from PIL import Image

import codec
from coding import engine_package, entropy, latents, tiles
from coding.modes import MODES
from engines import pair, shipped, tiled
from evaluation.bench import clock, photograph
from pictures.picture import Picture

OURS, PACKAGE, CONSTRICTION = "ours, compiled", "arithmetic-compressor", "constriction"
LEAST = 0.1  # seconds of a run

logger = logging.getLogger(__name__)


def engines() -> dict[str, ModuleType]:
    """The engines that can be measured, by name; logs that constriction is missing."""
    found = {OURS: entropy.default_engine(), PACKAGE: engine_package}
    if importlib.util.find_spec("constriction"):
        found[CONSTRICTION] = importlib.import_module("evaluation.bench.constriction")
    else:
        logger.warning("without constriction: the package is not installed")
    return found


def rows(repeats: int, modes: Iterable[str] = MODES) -> Iterator[dict]:
    """A row for each mode and engine, of what codes lena at the default quality."""
    found = engines()
    for mode in modes:
        integers, contexts, bank = coded(mode)
        symbols = to_symbols(integers, contexts, bank)
        for name, engine in found.items():
            numbers = measure(engine, symbols, contexts, bank.frequencies, repeats)
            yield {"part": "coder", "of": name, "mode": mode, "symbols": len(symbols)} | numbers


def coded(mode: str) -> tuple[np.ndarray, np.ndarray, entropy.Bank]:
    """Integers (n,) and contexts (n,) that code lena in a mode, and the bank of its encoder."""
    encoder = pair.Encoder.load(shipped.path(mode, "encoder"))
    return *symbols_of(analyse(photograph.make(0.25), encoder), encoder), encoder.coder.bank


def rate(encoder: pair.Encoder) -> float:
    """The default one."""
    mode = encoder.config.mode
    return mode.rate(mode.number(codec.DEFAULT_QUALITY))


def analyse(image: Image.Image, encoder: pair.Encoder) -> latents.Latents:
    """The real latents of an image of one stripe."""
    picture = Picture.from_image(image)
    rows = slice(0, -(-image.height // tiles.STRIDE))
    return tiled.analyse(picture, rows, rate(encoder), encoder, tiles.bar(0, progress=False))


def symbols_of(real: latents.Latents, encoder: pair.Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Integers (n,) and contexts (n,) that code real latents."""
    coder = encoder.coder
    return latents.symbols(coder.entropy_model, coder.kind, real, rate(encoder), coder.tune)


def to_symbols(integers: np.ndarray, contexts: np.ndarray, bank: entropy.Bank) -> np.ndarray:
    """The symbols int16 (n,) of integers (n,) in contexts (n,): places in the alphabets, or ESCAPE."""
    symbols = integers - bank.lowest[contexts] + 1
    inside = (symbols >= 1) & (symbols < bank.sizes[contexts])
    return np.where(inside, symbols, entropy.ESCAPE).astype(np.int16)


def measure(
    engine: ModuleType,
    symbols: np.ndarray,
    contexts: np.ndarray,
    frequencies: np.ndarray,
    repeats: int,
) -> dict:
    """The seconds of an engine for symbols (n,) in contexts (n,), and the bytes of its code.

    frequencies: (M, S), as of a bank
    """

    def encode():
        writer = engine.Writer(frequencies)
        writer.write(symbols, contexts)
        return writer.close()

    def decode():
        return engine.Reader(code, frequencies).read(contexts)

    encode_seconds, code = clock.seconds(encode, repeats, LEAST)
    decode_seconds, decoded = clock.seconds(decode, repeats, LEAST)
    if not np.array_equal(decoded, symbols):
        raise ValueError("other symbols came back")
    return {"bytes": len(code), "encode seconds": encode_seconds, "decode seconds": decode_seconds}
