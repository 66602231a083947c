"""A picture through the transforms tile by tile, so that memory does not grow with it.

The real latents of a picture, stripe by stripe, and the pixels of quantized ones.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from tqdm import tqdm

from coding import order, tiles
from coding.container import Metadata
from coding.latents import LARGEST, Latents
from coding.modes import HIGHEST_RATE
from coding.order import HYPER_STRIDE
from coding.tiles import STRIDE, TILE
from engines.model_file import ModelError
from engines.pair import Decoder, Encoder
from pictures.picture import Picture


def shape_of(metadata: Metadata) -> tuple[int, int]:
    """Rows and columns of the latents of a picture."""
    return -(-metadata.height // STRIDE), -(-metadata.width // STRIDE)


def real_stripes(picture: Picture, t: float, encoder: Encoder, progress: bool = False) -> Iterator[Latents]:
    """The real latents of each stripe of a picture at rate t; progress: show a bar on a terminal."""
    shape = shape_of(picture.metadata)
    with tiles.bar(tiles.count(shape), progress) as bar:
        for rows in order.stripes(*shape):
            yield analyse(picture, rows, t, encoder, bar)


def pixel_stripes(
    stripes: Iterable[np.ndarray],
    metadata: Metadata,
    t: float,
    decoder: Decoder,
    progress: bool = False,
) -> Iterator[np.ndarray]:
    """The pixels, uint8 (16 h, 16 w, 3), of each stripe of quantized latents (h, w, K) at rate t."""
    with tiles.bar(tiles.count(shape_of(metadata)), progress) as bar:
        for y, own in tiles.with_margins(stripes, tiles.SYNTHESIS_HALO):
            yield synthesise(y, own, t, decoder, bar, gray=metadata.gray)


def lacking(picture: Picture, stripes: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """What decoded pixels lack, int16 (16 h, 16 w, C), of each stripe; C is 1 for a gray picture, and else 3.

    stripes: decoded pixels, uint8 (16 h, 16 w, 3)
    """
    top, channels = 0, 1 if picture.metadata.gray else 3
    for pixels in stripes:
        window = slice(top, top + len(pixels)), slice(0, pixels.shape[1])
        yield np.subtract(picture.window(*window), pixels, dtype=np.int16)[:, :, :channels]
        top = window[0].stop


def analyse(
    picture: Picture,
    rows: slice,
    t: float,
    encoder: Encoder,
    bar: tqdm,
    tile: int = TILE,
) -> Latents:
    """The real latents of some rows of latents of a picture at rate t; rows: from a multiple of 4.

    bar: is moved by one for each tile.
    tile: latents to a side of what the transform sees at a time, without its margin, a multiple of 4.
    Raises ModelError for a transform that gives no numbers, or too large ones.
    """
    shape = _, columns = shape_of(picture.metadata)
    y = np.empty((rows.stop - rows.start, columns, encoder.config.channels), np.float32)
    hyper_shape = (-(-side // HYPER_STRIDE) for side in y.shape[:2])
    z = np.empty((*hyper_shape, encoder.config.entropy_widths[0]), np.float32)
    for part in tiles.split(rows, shape, tiles.ANALYSIS_HALO, tile):
        pixels = picture.window(*tiles.in_pixels(part.window))
        outputs = encoder.transform(tiles.to_input(pixels) / np.float32(255), min(t, HIGHEST_RATE))
        y_part, z_part = map(tiles.from_output, outputs)
        if not all((np.abs(array) <= LARGEST).all() for array in (y_part, z_part)):
            raise ModelError("the encoder makes latents that cannot be coded")
        y[part.tile] = y_part[part.tile_in_window]
        z[tiles.in_hyper(part.tile)] = z_part[tiles.in_hyper(part.tile_in_window)]
        bar.update()
    return Latents(y, z)


def synthesise(
    y: np.ndarray,
    rows: slice,
    t: float,
    decoder: Decoder,
    bar: tqdm,
    gray: bool = False,
    tile: int = TILE,
) -> np.ndarray:
    """Pixels uint8 (16 h, 16 w, 3) of h rows of quantized latents y (H, w, K) at rate t.

    gray: make them gray; bar, tile: as of `analyse`. Raises ModelError for a transform that gives no numbers.
    """
    rgb = np.empty(((rows.stop - rows.start) * STRIDE, y.shape[1] * STRIDE, 3), np.uint8)
    for part in tiles.split(rows, y.shape[:2], tiles.SYNTHESIS_HALO, tile):
        (x,) = decoder.transform(tiles.to_input(y[part.window]), min(t, HIGHEST_RATE))
        x = tiles.from_output(x)[tiles.in_pixels(part.tile_in_window)]
        if gray:
            x = x.mean(2, keepdims=True)
        if np.isnan(x).any():
            raise ModelError("the decoder makes pixels that are no numbers")
        rgb[tiles.in_pixels(part.tile)] = np.rint(x.clip(0, 1) * 255)
        bar.update()
    return rgb
