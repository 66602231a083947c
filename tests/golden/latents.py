"""Print hashes of the latents in `.encoded` files: PYTHONPATH=. python3 tests/golden/latents.py [FILE ...]

Without a file, of the golden files. Two machines that print the same lines understand each other's files: a
line has the name of the file, the hash of its latents, and the hash of the payload that they are coded to. It
needs NumPy and tqdm alone, and arithmetic-compressor where there is no C compiler.
"""

import glob
import hashlib
import itertools
import os
import sys

from coding import container, modes
from coding.tiles import STRIDE
from engines.model_file import ModelFile

GOLDEN = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(os.path.dirname(os.path.dirname(GOLDEN)), "models")


def decoders():
    """The golden and the shipped decoders by their ids."""
    golden = glob.glob(os.path.join(GOLDEN, "*_decoder.model"))
    shipped = (os.path.join(MODELS, mode.folder, "decoder.model") for mode in modes.MODES.values())
    files = (ModelFile.load(path, "decoder") for path in itertools.chain(golden, shipped))
    return {file.id: file for file in files}


def hashes(path, decoders):
    """Of the quantized latents in a file, and of the payload that they are coded to; none without latents."""
    with open(path, "rb") as file:
        encoded = container.unpack(file.read())
    if not encoded.payload:
        return []
    t, coder = encoded.setting.t, decoders[encoded.decoder_id].coder.tuned(encoded.setting.tune)
    shape = tuple(-(-side // STRIDE) for side in (encoded.metadata.height, encoded.metadata.width))
    stripes = list(coder.decode(encoded.payload, shape, t))
    latents = b"".join(array.astype("<f4").tobytes() for part in stripes for array in (part.z, part.y))
    return [hashlib.sha256(content).hexdigest()[:16] for content in (latents, coder.encode(stripes, t))]


if __name__ == "__main__":
    known = decoders()
    for path in sys.argv[1:] or sorted(glob.glob(os.path.join(GOLDEN, "*.encoded"))):
        print(os.path.basename(path), *hashes(path, known))
