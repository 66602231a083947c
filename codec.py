"""The codec as two functions: `compress` an image to bytes, `decompress` bytes to an image.

    encoder = pair.Encoder.load("models/model_variable/encoder.model")
    data = codec.compress(PIL.Image.open("photo.jpg"), encoder, quality=4)
    decoder = pair.Decoder.load("models/model_variable/decoder.model")
    image = codec.decompress(data, decoder)

This is the one file that knows all the parts.
"""

import functools
from collections.abc import Iterator

import numpy as np
from PIL import Image
from tqdm import tqdm

from coding import container, order, tiles
from coding.container import ContainerError, Encoded
from coding.latents import LARGEST, Latents
from coding.modes import Setting
from coding.order import HYPER_STRIDE
from coding.tiles import STRIDE, TILE
from engines.model_file import ModelError
from engines.pair import Decoder, Encoder
from pictures.picture import Picture, to_image

DEFAULT_QUALITY = 5


def compress(
    image: Image.Image,
    encoder: Encoder,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    effort: int = 0,
    decoder: Decoder | None = None,
    progress: bool = False,
) -> bytes:
    """Bytes of a `.encoded` file for a Pillow image of any mode and size.

    quality: 1 to 10, for a model of all rates, 5 if nothing is said; or target_bpp: bits per pixel that the
    file comes near to, before refinement.
    effort: iterations of refinement, see `search.py`, which need the encoder's decoder.
    progress: show a bar on a terminal. The models' device is used.
    Raises pillow.PictureError for modes that have no RGB, container.ContainerError for pictures beyond the
    format's limits, model_file.ModelError for a decoder that is not the encoder's, and ValueError for options
    that contradict each other or the model.
    """
    _check_options(encoder, quality, target_bpp, effort, decoder)
    container.check_size(*image.size)
    picture = Picture.from_image(image)
    setting = _choose_setting(picture, encoder, quality, target_bpp)
    if effort:
        stripes = _refined_stripes(picture, setting.t, encoder, decoder, effort, progress)
    else:
        stripes = _real_stripes(picture, setting.t, encoder, progress)
    return _pack(picture, setting, encoder, encoder.coder.encode(stripes, setting.t))


def decompress(
    data: bytes,
    decoder: Decoder,
    *,
    progress: bool = False,
) -> Image.Image:
    """The Pillow image (L, LA, RGB or RGBA) in the bytes of a `.encoded` file.

    The decoder's device is used; progress: show a bar on a terminal. Raises container.ContainerError,
    entropy.PayloadError or pillow.PictureError for damaged data and model_file.ModelError if another decoder
    is needed.
    """
    encoded = unpack(data, decoder)
    metadata, t = encoded.metadata, encoded.setting.t
    shape = rows, columns = _shape_of(metadata)
    rgb = np.empty((rows * STRIDE, columns * STRIDE, 3), np.uint8)
    stripes = (latents.y for latents in decode_latents(encoded, decoder))  # each (h, w, K), quantized
    with tiles.bar(tiles.count(shape), progress) as bar:
        top = 0
        for y, own in tiles.with_margins(stripes, tiles.SYNTHESIS_HALO):
            part = synthesise(y, own, t, decoder, bar, gray=metadata.gray)
            rgb[top : top + len(part)] = part
            top += len(part)
    return to_image(rgb[: metadata.height, : metadata.width], metadata)


def unpack(data: bytes, decoder: Decoder) -> Encoded:
    """What the bytes `data` of a file hold.

    Raises ContainerError if they are damaged, and ModelError if they are not for this decoder.
    """
    encoded = container.unpack(data)
    if encoded.decoder_id != decoder.id:
        needed = encoded.decoder_id.hex()
        raise ModelError(f"the file needs the decoder {needed}, this one is {decoder.id.hex()}")
    if encoded.setting.mode != decoder.config.mode:
        raise ContainerError("the file is damaged (its mode is not that of its decoder)")
    return encoded


def decode_latents(encoded: Encoded, decoder: Decoder) -> Iterator[Latents]:
    """The quantized latents in the payload of a file, stripe by stripe; raises entropy.PayloadError."""
    return decoder.coder.decode(encoded.payload, _shape_of(encoded.metadata), encoded.setting.t)


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
    shape = _, columns = _shape_of(picture.metadata)
    y = np.empty((rows.stop - rows.start, columns, encoder.config.channels), np.float32)
    hyper_shape = (-(-side // HYPER_STRIDE) for side in y.shape[:2])
    z = np.empty((*hyper_shape, encoder.config.entropy_widths[0]), np.float32)
    for part in tiles.split(rows, shape, tiles.ANALYSIS_HALO, tile):
        pixels = picture.window(*tiles.in_pixels(part.window))
        outputs = encoder.transform(tiles.to_input(pixels) / np.float32(255), t)
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
        (x,) = decoder.transform(tiles.to_input(y[part.window]), t)
        x = tiles.from_output(x)[tiles.in_pixels(part.tile_in_window)]
        if gray:
            x = x.mean(2, keepdims=True)
        if np.isnan(x).any():
            raise ModelError("the decoder makes pixels that are no numbers")
        rgb[tiles.in_pixels(part.tile)] = np.rint(x.clip(0, 1) * 255)
        bar.update()
    return rgb


def _shape_of(metadata):
    """Rows and columns of the latents of a picture."""
    return tuple(-(-side // STRIDE) for side in (metadata.height, metadata.width))


def _real_stripes(picture, t, encoder, progress=False) -> Iterator[Latents]:
    """The real latents of each stripe of a picture."""
    shape = _shape_of(picture.metadata)
    with tiles.bar(tiles.count(shape), progress) as bar:
        for rows in order.stripes(*shape):
            yield analyse(picture, rows, t, encoder, bar)


def _refined_stripes(picture, t, encoder, decoder, effort, progress) -> Iterator[Latents]:
    """The same after `effort` iterations of the search."""
    from networks import search  # which needs PyTorch

    shape, no_bar = _shape_of(picture.metadata), tiles.bar(0, progress=False)
    with tiles.bar(effort * tiles.count(shape, search.TILE), progress) as bar:
        for rows in order.stripes(*shape):
            wide = tiles.widened(rows, shape[0], tiles.SYNTHESIS_HALO)
            latents = analyse(picture, wide, t, encoder, no_bar)
            cost = search.Cost(latents.z, wide.start, t, picture, encoder, decoder)
            yield search.refine(
                latents, slice(rows.start - wide.start, rows.stop - wide.start), cost, effort, bar
            )


def _check_options(encoder, quality, target_bpp, effort, decoder):
    if quality is not None and target_bpp is not None:
        raise ValueError("a quality and a target of bits per pixel contradict each other")
    if encoder.config.mode.is_fixed and not (quality is None and target_bpp is None):
        raise ValueError(
            f"a model of {encoder.config.mode.name} mode has one rate: no quality can be asked for"
        )
    if quality is not None and not 1 <= quality <= 10:
        raise ValueError("the quality must be from 1 to 10")
    if target_bpp is not None and not target_bpp > 0:
        raise ValueError("the target of bits per pixel must be positive")
    if effort and decoder is None:
        raise ValueError("effort needs the decoder")
    if effort and decoder.id != encoder.decoder_id:
        raise ModelError("the decoder is not the one that this encoder was trained with")


def _pack(picture, setting, encoder, payload):
    return container.pack(Encoded(setting, encoder.decoder_id, picture.metadata, payload))


def _choose_setting(picture, encoder, quality, target_bpp):
    """The setting that is asked for."""
    mode = encoder.config.mode
    if target_bpp is None:
        return Setting(mode, mode.number(quality or DEFAULT_QUALITY))
    size = target_bpp * picture.metadata.width * picture.metadata.height / 8
    besides_payload = len(_pack(picture, Setting(mode, mode.numbers[0]), encoder, payload=b""))
    return Setting(mode, _number_of_size(size - besides_payload, picture, encoder))


def _number_of_size(size, picture, encoder):
    """The number of the rate whose payload comes nearest to `size` bytes.

    Code lengths find it: those of the initial probabilities. One payload tells how much less the adaptive
    models need.
    """
    mode, coder = encoder.config.mode, encoder.coder

    @functools.cache
    def estimate(number):
        t = mode.rate(number)
        stripes = _real_stripes(picture, t, encoder)
        return sum(bits.sum() for latents in stripes for bits in coder.code_lengths(latents, t)) / 8

    number = _nearest(mode.numbers, estimate, size)
    t = mode.rate(number)
    needed = len(coder.encode(_real_stripes(picture, t, encoder), t))
    return _nearest(mode.numbers, estimate, size * estimate(number) / needed)


def _nearest(numbers, size_at, size):
    """The number in a range with size_at(number) nearest to `size`, which grows with it."""
    low, high = numbers[0], numbers[-1]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size_at(middle) <= size else (low, middle)
    return min((low, high), key=lambda number: abs(size_at(number) - size))
