"""The encoder and the decoder that `codec.py` uses: a `.model` file, and an engine that runs its transform.

An engine is a module with `Transform(model_file, device)`, whose instances are called with one input float32
(1, C, h, w) and a rate, and give the transform's outputs (1, C, h, w) as arrays. Their `module` is the
network itself where PyTorch runs it, which the search needs, or None.
"""

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Callable

from coding.config import ModelConfig
from coding.errors import UserError, is_lack_of_memory
from coding.latents import LatentCoder
from engines import shipped
from engines.model_file import ModelError, ModelFile


@dataclasses.dataclass(frozen=True)
class _Half:
    """An encoder or a decoder; transform: as an engine makes it."""

    file: ModelFile
    transform: object

    @property
    def config(self) -> ModelConfig:
        """The configuration of the transform and of its entropy model."""
        return self.file.config

    @property
    def coder(self) -> LatentCoder:
        """What codes its latents."""
        return self.file.coder

    def save(self, path: str) -> None:
        """Write the `.model` file; raises OSError."""
        self.file.save(path)


@dataclasses.dataclass(frozen=True)
class Encoder(_Half):
    """All that compressing needs.

    load_decoder: gives the Decoder, which the search and the choice of layers need; None if there is none.
    """

    load_decoder: Callable[[], "Decoder"] | None = None

    @functools.cached_property
    def decoder(self) -> "Decoder | None":
        """The decoder that was trained with it, loaded when it is first asked for; raises ModelError."""
        decoder = self.load_decoder and self.load_decoder()
        if decoder and decoder.id != self.decoder_id:
            raise ModelError("the decoder is not the one that this encoder was trained with")
        return decoder

    @property
    def decoder_id(self) -> bytes:
        """Eight bytes, of the decoder that was trained with it."""
        return self.file.decoder_id

    @property
    def lambda_(self) -> float:
        """Of its training, the weight of the distortion at t = 0."""
        return self.file.lambda_

    @property
    def tune(self) -> str:
        """What it was trained for, of modes.TUNES."""
        return self.file.tune

    @classmethod
    def load(cls, path: str, device: str = "cpu", engine: str = "auto") -> "Encoder":
        """Read `path`; raises ModelError for anything else than such a file, and UserError.

        Its decoder is the file decoder.model in the same folder.
        engine: "onnx"; "torch", which the search and GPUs need; or "auto", the former on the CPU.
        """
        file = ModelFile.load(path, "encoder")
        beside = os.path.join(os.path.dirname(path), "decoder.model")
        load_decoder = functools.partial(Decoder.load, beside, device, engine)
        transform = _transform(file, path, device, engine)
        return cls(file, transform, load_decoder if os.path.exists(beside) else None)


@dataclasses.dataclass(frozen=True)
class Decoder(_Half):
    """All that decompressing needs; id: eight bytes that name it."""

    id: bytes

    @classmethod
    def load(cls, path: str, device: str = "cpu", engine: str = "auto") -> "Decoder":
        """As of an Encoder."""
        file = ModelFile.load(path, "decoder")
        return cls(file, _transform(file, path, device, engine), file.id)

    @classmethod
    @functools.cache
    def find(cls, decoder_id: bytes, mode: str, device: str = "cpu", engine: str = "auto") -> "Decoder":
        """The decoder of an id, loaded once; see `shipped.find`. Raises ModelError and UserError."""
        path, file = shipped.find(decoder_id, mode)
        return cls(file, _transform(file, path, device, engine), decoder_id)


def _transform(file, path, device, engine):
    """The transform of the ModelFile in `path`."""
    name = _name(engine, device)
    try:
        return _engine(name).Transform(file, device)
    except ImportError as error:
        raise UserError(f"--engine={name} needs the package {error.name}, which is not installed") from error
    except Exception as error:  # a transform of a foreign file can fail in any way
        if is_lack_of_memory(error):
            raise
        raise ModelError(f"{path}: not an AutoCompressor model") from error


def _name(engine, device):
    """The name of the engine that is meant; raises UserError for one that the device does not have."""
    if engine == "auto":
        light = device == "cpu" and importlib.util.find_spec("onnxruntime")
        return "onnx" if light else "torch"
    if engine == "onnx" and device != "cpu":
        raise UserError("--engine=onnx runs on the CPU alone")
    return engine


def _engine(name):
    """The module of an engine; raises ImportError for what is not installed."""
    if name == "onnx":
        from engines import onnx_engine as engine
    else:
        from engines import torch_engine as engine
    return engine
