"""The codecs that are measured whole: ours, those that Pillow writes, and learned ones of CompressAI.

A codec has a `name` and a `setting` for people; `missing()` says what it lacks here, or None; `encoder()`
gives a function from an RGB image to bytes, and `decoder()` one from these to an image. Packages are imported
by the two last alone, so that the memory of a process is that of the codec it runs.
"""

import dataclasses
import functools
import importlib.util
import io
import pickle
from collections.abc import Callable

from PIL import Image, features

Encode = Callable[[Image.Image], bytes]
Decode = Callable[[bytes], Image.Image]


@dataclasses.dataclass(frozen=True)
class Ours:
    """AutoCompressor in a mode, at its default quality."""

    mode: str
    setting: str

    @property
    def name(self) -> str:
        return f"AutoCompressor, {self.mode}"

    def missing(self) -> None:
        """Nothing."""

    def encoder(self) -> Encode:
        """With the shipped model."""
        import codec
        from engines import pair, shipped

        return functools.partial(
            codec.compress, encoder=pair.Encoder.load(shipped.path(self.mode, "encoder"))
        )

    def decoder(self) -> Decode:
        """With the shipped model."""
        import codec
        from engines import pair, shipped

        decoder = pair.Decoder.load(shipped.path(self.mode, "decoder"))
        return functools.partial(codec.decompress, decoder=decoder)


@dataclasses.dataclass(frozen=True)
class Pillows:
    """A format that Pillow writes.

    kind: its name in Pillow
    options: of `Image.save`
    feature: what Pillow must have been built with, if anything
    plugin: (module, package) that adds the format to Pillow, if one does
    """

    name: str
    setting: str
    kind: str
    options: dict
    feature: str | None = None
    plugin: tuple[str, str] | None = None

    def missing(self) -> str | None:
        """What is not installed."""
        if self.feature and not features.check(self.feature):
            return "this Pillow was built without it"
        if self.plugin and not importlib.util.find_spec(self.plugin[0]):
            return f"the package {self.plugin[1]} is not installed"
        return None

    def _load(self):
        if self.plugin:
            importlib.import_module(self.plugin[0])  # which adds itself to Pillow

    def encoder(self) -> Encode:
        """With Pillow's own number of threads."""
        self._load()

        def encode(image):
            file = io.BytesIO()
            image.save(file, self.kind, **self.options)
            return file.getvalue()

        return encode

    def decoder(self) -> Decode:
        """With Pillow's own number of threads."""
        self._load()
        return lambda data: Image.open(io.BytesIO(data)).convert("RGB")


@dataclasses.dataclass(frozen=True)
class CompressAI:
    """A model of CompressAI's zoo with random weights.

    The time of its transforms does not depend on the weights; its bytes do, and say nothing.
    """

    name: str
    setting: str = "quality 4, random weights"

    def missing(self) -> str | None:
        """What is not installed."""
        return None if importlib.util.find_spec("compressai") else "the package compressai is not installed"

    def _load(self):
        import torch
        from compressai import zoo

        torch.manual_seed(0)  # the encoder and the decoder are of one model
        model = getattr(zoo, self.name.replace("-", "_"))(quality=4, pretrained=False).eval()
        model.update()
        return model

    def encoder(self) -> Encode:
        """On the CPU, with PyTorch's own number of threads."""
        import torch
        from torchvision.transforms import functional

        model = self._load()

        @torch.no_grad()
        def encode(image):
            return pickle.dumps(model.compress(functional.to_tensor(image)[None]))

        return encode

    def decoder(self) -> Decode:
        """On the CPU, with PyTorch's own number of threads."""
        import torch
        from torchvision.transforms import functional

        model = self._load()

        @torch.no_grad()
        def decode(data):
            code = pickle.loads(data)
            return functional.to_pil_image(model.decompress(**_named(code))["x_hat"][0].clamp(0, 1))

        return decode


def _named(code):
    """What CompressAI's `compress` gives as arguments of its `decompress`."""
    return {"strings": code["strings"], "shape": code["shape"]}


OURS = {
    "hard": Ours("hard", "B=2"),
    "soft": Ours("soft", "B=10"),
    "variable": Ours("variable", "quality 5"),
}
AGAINST = {
    "jpeg": Pillows("JPEG", "quality 75", "JPEG", {"quality": 75}),
    "webp": Pillows("WebP", "quality 80, method 4", "WEBP", {"quality": 80, "method": 4}, "webp"),
    "avif": Pillows("AVIF", "quality 75, speed 6", "AVIF", {"quality": 75, "speed": 6}, "avif"),
    "jxl": Pillows(
        "JPEG XL",
        "quality 90, effort 7",
        "JXL",
        {"quality": 90, "effort": 7},
        plugin=("pillow_jxl", "pillow-jxl-plugin"),
    ),
    "bmshj2018-factorized": CompressAI("bmshj2018-factorized"),
    "mbt2018-mean": CompressAI("mbt2018-mean"),
    "mbt2018": CompressAI("mbt2018"),
}
CODECS = OURS | AGAINST
