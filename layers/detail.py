"""The detail layer of a picture, coded by `coding/detail.py`: what a payload lacks, and adding it again."""

from collections.abc import Iterable, Iterator

import numpy as np

from coding import detail, order
from coding.container import Encoded
from coding.modes import Setting
from coding.tiles import STRIDE
from engines import tiled
from engines.pair import Encoder
from pictures.picture import Picture


def encode(picture: Picture, setting: Setting, encoder: Encoder, payload: bytes) -> bytes:
    """The detail layer that a setting asks for, of what a payload lacks of the picture; empty for none."""
    if setting.step is None:
        return b""
    shape = tiled.shape_of(picture.metadata)
    stripes = (latents.y for latents in encoder.coder.decode(payload, shape, setting.t))
    pixels = tiled.pixel_stripes(stripes, picture.metadata, setting.t, encoder.decoder)
    return detail.encode(tiled.lacking(picture, pixels), setting.step, detail.TUNES[setting.tune])


def add(parts: Iterable[np.ndarray], encoded: Encoded) -> Iterator[np.ndarray]:
    """The pixels, uint8 (16 h, 16 w, 3), of each stripe with what the detail layer of a file adds to them.

    There may be none. Raises entropy.PayloadError.
    """
    if encoded.setting.step is None or not encoded.payload:
        yield from parts
        return
    rows, columns = tiled.shape_of(encoded.metadata)
    channels = 1 if encoded.metadata.gray else 3
    shapes = [((s.stop - s.start) * STRIDE, columns * STRIDE, channels) for s in order.stripes(rows, columns)]
    tune = detail.TUNES[encoded.setting.tune]
    details = detail.decode(encoded.detail, shapes, encoded.setting.step, tune)
    for part, lacking in zip(parts, details, strict=True):
        yield np.rint(part + lacking).clip(0, 255).astype(np.uint8)
