"""The `.model` file: a ZIP archive, not compressed, of three parts that each open with a tool of their own.

    model.json          format, kind ("encoder" or "decoder"), configuration, and what only an encoder has:
                        the id of its decoder, and lambda and tune of its training (the latter if it is
                        not the first of modes.TUNES)
    transform.onnx      the analysis or the synthesis transform; weights in half precision, by their names
    entropy_model.npz   weights of the entropy model in half precision, and the bank of adaptive models

No part holds code. ONNX Runtime needs no more than this file, and PyTorch takes the weights out of it.
"""

import dataclasses
import hashlib
import io
import json
import zipfile

import numpy as np

from coding import config, entropy, entropy_model, files
from coding.config import ModelConfig
from coding.errors import UserError
from coding.latents import LatentCoder
from coding.modes import TUNES

FORMAT = "autocompressor.model.3"
_PARTS = ("model.json", "transform.onnx", "entropy_model.npz")
_BANK = "bank."  # how the names of the bank's arrays begin
LARGEST_LAMBDA = 1e6  # far above what any training takes; products of it are numbers
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the time of all parts, so that a model has one file


class ModelError(UserError):
    """A `.model` file that cannot be used, or not for what was asked."""


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """What a file holds.

    kind: "encoder" or "decoder".
    transform: bytes of an ONNX file.
    coder: with a frozen entropy model.
    decoder_id: eight bytes, of an encoder's decoder; lambda_: the weight of the distortion at t = 0 in the
    encoder's training. None in a decoder.
    tune: what an encoder was trained for, of modes.TUNES.
    """

    kind: str
    config: ModelConfig
    transform: bytes = dataclasses.field(repr=False)
    coder: LatentCoder
    decoder_id: bytes | None = None
    lambda_: float | None = None
    tune: str = TUNES[0]

    @property
    def id(self) -> bytes:
        """Eight bytes that name a decoder: a hash over its configuration, transform and entropy model."""
        digest = hashlib.sha256(repr(dataclasses.astuple(self.config)).encode())
        digest.update(self.transform)
        for name, array in sorted(self._arrays().items()):
            digest.update(f"{name}{array.dtype}{array.shape}".encode())
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.digest()[:8]

    def _arrays(self):
        """The weights of the entropy model and the bank, by their names in the file."""
        weights, bank = self.coder.entropy_model.weights, self.coder.bank
        sizes = bank.sizes.astype(np.int16)
        arrays = {name: weight.astype(np.float16) for name, weight in weights.items()}
        parts = ("lowest", bank.lowest), ("sizes", sizes), ("frequencies", bank.flat)
        return arrays | {_BANK + name: array for name, array in parts}

    def _parts(self):
        """The bytes of each part of the file."""
        fields = {"format": FORMAT, "kind": self.kind, "config": dataclasses.asdict(self.config)}
        if self.decoder_id is not None:
            fields |= {"decoder_id": self.decoder_id.hex(), "lambda": self.lambda_}
        if self.tune != TUNES[0]:
            fields["tune"] = self.tune
        archive = io.BytesIO()
        np.savez(archive, **self._arrays())
        contents = json.dumps(fields, indent=1).encode(), self.transform, archive.getvalue()
        return dict(zip(_PARTS, contents))

    def save(self, path: str) -> None:
        """Write `path`; raises OSError."""
        with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, content in self._parts().items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)

    @classmethod
    def load(cls, path: str, kind: str) -> "ModelFile":
        """Read the "encoder" or "decoder" in `path`; raises ModelError for anything else than such a file."""
        try:
            with zipfile.ZipFile(path) as archive:
                fields, transform, arrays = (_read(archive, name) for name in _PARTS)
            return cls._from_parts(json.loads(fields), transform, _arrays(arrays), path, kind)
        except ModelError:
            raise
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or 'cannot be read'}") from error
        except Exception as error:  # the content of a foreign file can fail in any way
            raise ModelError(f"{path}: not an AutoCompressor model") from error

    @classmethod
    def _from_parts(cls, fields, transform, arrays, path, kind):
        if fields["format"] != FORMAT:
            raise ModelError(f"{path}: not an AutoCompressor model, or one of a later version")
        if fields["kind"] != kind:
            raise ModelError(f"{path}: is the {fields['kind']}, not the {kind}")
        configuration = config.from_lists(fields["config"])
        bank = {name.removeprefix(_BANK): arrays.pop(name) for name in list(arrays) if name.startswith(_BANK)}
        first, *others = configuration.mode.tunes
        tunes = [first, *(tune for tune in others if entropy_model.LOG_STEP + tune in arrays)]
        if {name: weight.shape for name, weight in arrays.items()} != entropy_model.weight_shapes(
            configuration.slices, configuration.entropy_widths, tunes
        ):
            raise ModelError(f"{path}: not an AutoCompressor model")
        if not all(np.isfinite(weight).all() for weight in arrays.values()):
            raise ModelError(f"{path}: holds weights that are no numbers")
        model = entropy_model.EntropyModel(configuration.slices, arrays)
        coder = LatentCoder(model, configuration.kind, entropy.Bank.from_flat(**bank))
        if kind == "decoder":
            return cls(kind, configuration, transform, coder)
        decoder_id, lambda_ = bytes.fromhex(fields["decoder_id"]), float(fields["lambda"])
        tune = fields.get("tune", TUNES[0])
        if not 0 < lambda_ < LARGEST_LAMBDA or tune not in model.tunes:
            raise ModelError(f"{path}: not an AutoCompressor model")
        return cls(kind, configuration, transform, coder.tuned(tune), decoder_id, lambda_, tune)


def _read(archive, name):
    """A part of the archive, which is as large there as it is here."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ModelError(f"{archive.filename}: not an AutoCompressor model")
    return archive.read(name)


def _arrays(content):
    """Arrays by their names in the bytes of an NPZ file."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if any(info.compress_type != zipfile.ZIP_STORED for info in arrays.zip.infolist()):
            raise ValueError("compressed")
        return dict(arrays)
