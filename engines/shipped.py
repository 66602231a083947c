"""The models that come with the program, and every decoder that is at hand, by its id.

`models/` keeps each decoder that was released, so that files of every version decode for ever.
"""

import functools
import glob
import logging
import os

from coding import modes
from coding.errors import UserError
from engines.model_file import ModelError, ModelFile

MODELS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "models")
FURTHER = "AUTOCOMPRESSOR_MODELS"  # the variable that names more folders, as PATH does

logger = logging.getLogger(__name__)


def path(mode: str, kind: str, tune: str | None = None) -> str:
    """Path of the "encoder" or "decoder" of this version for a mode.

    tune: of the encoder, or None for the mode's default; raises UserError for one that the mode lacks.
    """
    its = modes.MODES[mode]
    tune = tune or its.tune
    if tune not in its.tunes:
        raise UserError(f"there is no model of --quantize_mode={mode} for --tune={tune}")
    name = kind if kind == "decoder" or tune == its.tunes[0] else f"{kind}_{tune}"
    return os.path.join(MODELS, its.folder, f"{name}.model")


def find(decoder_id: bytes, mode: str) -> tuple[str, ModelFile]:
    """The decoder of an id, and its path: a file decoder.model in `folders` or in a folder of theirs.

    mode: whose decoder of this version is looked at first, since most files need that

    Raises ModelError where no decoder has the id; logs what cannot be read on the way.
    """
    for candidate in dict.fromkeys([path(mode, "decoder"), *_candidates()]):
        try:
            file, its_id = _read(candidate)
        except ModelError as error:
            logger.warning(error)
            continue
        if its_id == decoder_id:
            return candidate, file
    where = ", ".join(folders())
    raise ModelError(f"needs the decoder {decoder_id.hex()}, not found in {where} ({FURTHER} adds folders)")


def folders() -> list[str]:
    """Where decoders are looked for: `models/`, and the folders in the variable FURTHER."""
    return [MODELS, *filter(None, os.environ.get(FURTHER, "").split(os.pathsep))]


def _candidates():
    """Paths of all decoders, the order of which does not depend on the machine."""
    patterns = "decoder.model", os.path.join("*", "decoder.model")
    for folder in folders():
        for pattern in patterns:
            yield from sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))


@functools.cache
def _read(file_path):
    """A decoder and its id."""
    file = ModelFile.load(file_path, "decoder")
    return file, file.id
