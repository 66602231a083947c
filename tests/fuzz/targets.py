"""What is done with hostile files: what the scripts do, in this process."""

import functools
import io
import os
import struct
import tempfile
from random import Random

import codec
from coding import container
from engines.pair import Decoder, Encoder
from fuzz import mutations, originals
from pictures import reading, writing
from pictures.picture import Picture

MOST_PIXELS = 1 << 16  # of a picture that is coded as a whole: more would only take longer

BOMBS = 1 / 2000  # of image files: one takes seconds


@functools.cache
def _decoder(mode):
    return Decoder.load(os.path.join(originals.GOLDEN, f"{mode}_decoder.model"), engine="onnx")


@functools.cache
def _encoder(mode):
    return Encoder.load(os.path.join(originals.GOLDEN, f"{mode}_encoder.model"), engine="onnx")


class EncodedFile:
    """A damaged `.encoded` file, for decode.py."""

    @staticmethod
    def make(random: Random) -> bytes:
        """The bytes of one."""
        files = originals.encoded()
        change = random.choice((mutations.mutate, mutations.mutate_container, mutations.mutate_container))
        return change(random, random.choice(files), files)

    @staticmethod
    def use(data: bytes) -> None:
        """Restore it; raises UserError."""
        container.describe(data)
        mode = container.unpack(data).setting.mode.name
        writing.to_png(codec.decompress(data, _decoder(mode)))


class ModelFile:
    """A damaged `.model` file, for encode.py, or for decode.py with a file that claims to be made for it."""

    @staticmethod
    def make(random: Random) -> bytes:
        """The bytes of one."""
        files = originals.models()
        change = random.choice((mutations.mutate, mutations.mutate_model, mutations.mutate_model))
        return change(random, random.choice(files), files)

    @staticmethod
    def use(data: bytes) -> None:
        """Load it, and compress or restore a file with it; raises UserError."""
        with tempfile.NamedTemporaryFile(suffix=".model") as file:
            file.write(data)
            file.flush()
            if b'"kind": "encoder"' in data:
                codec.compress(originals.image("RGB"), Encoder.load(file.name, engine="onnx"))
                return
            decoder = Decoder.load(file.name, engine="onnx")
        encoded = bytearray(originals.encoded_of(decoder.config.mode))
        struct.pack_into("8s", encoded, 17, decoder.id)
        codec.decompress(mutations.seal_container(bytes(encoded)), decoder)


class ImageFile:
    """A damaged image file, for encode.py."""

    @staticmethod
    def make(random: Random) -> bytes:
        """The bytes of one."""
        if random.random() < BOMBS:
            return mutations.bomb(random)
        name = random.choice(sorted(originals.images()))
        files = originals.images()[name]
        seals = name == "PNG" and random.random() < 0.8
        change = mutations.mutate_png if seals else mutations.mutate
        return change(random, random.choice(files), files)

    @staticmethod
    def use(data: bytes) -> None:
        """Read it, and compress one in eight of those that are small; raises UserError."""
        image = reading.read("image", io.BytesIO(data))
        if image.width * image.height <= MOST_PIXELS and len(data) % 8 == 0:
            codec.compress(image, _encoder("variable"))
        else:
            container.check_size(*image.size)
            Picture.from_image(image)


TARGETS = (EncodedFile, EncodedFile, EncodedFile, ModelFile, *(ImageFile,) * 6)


def make(seed: int, number: int) -> tuple[type, bytes]:
    """The target and the bytes of an input: the same for the same numbers."""
    random = Random(f"{seed}/{number}")
    target = random.choice(TARGETS)
    return target, target.make(random)
