"""Everything that `evaluate.py` measures of one image: ours and the other codecs, at real file sizes."""

import dataclasses
import functools
import io
import math
import time

from PIL import Image

import cli
import codec
import heatmap
import metrics
import model
import picture
import rivals

THUMBNAIL = 128  # pixels


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is asked of our codec; quality is None but in variable mode."""

    mode: str
    quality: float | None
    effort: int

    @property
    def codec(self):
        """The name of the codec, as of a curve."""
        return f"{self.mode}, effort {self.effort}" if self.effort else self.mode

    @property
    def name(self):
        """The name of the setting, as of a point of the curve."""
        return (
            f"quality {self.quality:g}"
            if self.quality is not None
            else {"hard": "B=2", "soft": "B=10"}[self.mode]
        )


@dataclasses.dataclass
class Measured:
    """One image: a row for each file, see `results.py`; what could not be done, in lines; and for each setting to be
    shown its pictures, files by the name of the codec, and its heat map, bits (H/16, W/16)."""

    name: str
    width: int = 0
    height: int = 0
    rows: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    original: bytes = b""
    thumbnail: bytes = b""
    shown: list = dataclasses.field(default_factory=list)


@functools.cache
def _pair(mode, device):
    """Our encoder and decoder of a mode, warm: the first file compiles the coder and is not to be timed."""
    pair = [model.load(cli.shipped_model(mode, kind), kind, device) for kind in ("encoder", "decoder")]
    codec.decompress(codec.compress(Image.new("RGB", (64, 64)), pair[0]), pair[1])
    return pair


def measure(path, name, settings, against, shown=(), device="cpu", lpips=False):
    """The Measured of the image file `path`; its rows are empty if it cannot be measured.

    settings: Settings of ours; against: names in rivals.CODECS; shown: the settings whose pictures are wanted. All
    codecs get the same pixels: 8-bit RGB or gray, without alpha and metadata.
    """
    measured = Measured(name)
    try:
        image = picture.pixels(picture.read(path))
        measured.width, measured.height = image.size
        others = {}
        for other in map(rivals.load, against):
            try:
                rival = rivals.Rival(other, image)
                measured.rows += [
                    _row(name, other.name, file, rival.decode(file.data), image, lpips)
                    for file in rival.curve()
                ]
                others[other.name] = rival
            except rivals.ERRORS as error:
                measured.notes.append(f"{path}: {other.name} cannot take it ({error})")
        for setting in settings:
            _measure_ours(measured, setting, image, others, setting in shown, device, lpips)
        if shown:
            measured.original, measured.thumbnail = _lossless(image), _thumbnail(image)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        measured.rows.clear()
        message = " ".join(str(error).split()) or "not enough memory"
        measured.notes.append(f"left out: {message if path in message else f'{path}: {message}'}")
    return measured


def _measure_ours(measured, setting, image, others, is_shown, device, lpips):
    """Add to `measured` the rows of our file and of those of the others that are as large, and their pictures."""
    encoder, decoder = _pair(setting.mode, device)
    began = time.perf_counter()
    data = codec.compress(image, encoder, decoder, setting.effort, setting.quality)
    encoded = time.perf_counter()
    decoded = codec.decompress(data, decoder)
    ended = time.perf_counter()
    ours = rivals.File(setting.name, data, metrics.psnr(decoded, image), encoded - began, ended - encoded)
    label = f"{setting.codec}, {setting.name}"
    nearest = {name: rival.nearest(len(data)) for name, rival in others.items()}
    measured.rows.append(
        _row(measured.name, setting.codec, ours, decoded, image, lpips)
        | {f"{name} PSNR": _rounded(rival.psnr_at(len(data)), 4) for name, rival in others.items()}
    )
    measured.rows += [
        _row(measured.name, name, file, others[name].decode(file.data), image, lpips)
        | {"same bytes as": label}
        for name, file in nearest.items()
    ]
    if is_shown:
        measured.shown.append(
            {
                "setting": label,
                "bits": heatmap.bits_per_position(data, decoder),
                "files": {setting.codec: _lossless(decoded)}
                | {name: file.data for name, file in nearest.items()},
            }
        )


def _row(name, codec_name, file, decoded, image, lpips):
    size = len(file.data)
    return {
        "image": name,
        "codec": codec_name,
        "setting": file.setting,
        "same bytes as": None,
        "bytes": size,
        "bpp": _rounded(8 * size / (image.width * image.height), 8),
        "PSNR": _rounded(file.psnr, 4),
        "MS-SSIM": _rounded(metrics.ms_ssim(decoded, image), 6),
        "LPIPS": _rounded(metrics.load_lpips()(decoded, image), 5) if lpips else None,
        "encode s": _rounded(file.encode_seconds, 4),
        "decode s": _rounded(file.decode_seconds, 4),
    }


def _rounded(value, digits):
    return value if value is None or math.isinf(value) else round(value, digits)


def _lossless(image):
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, quality=60)
    return file.getvalue()


def _thumbnail(image):
    small, file = image.copy(), io.BytesIO()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(file, "WEBP", quality=80)
    return file.getvalue()
