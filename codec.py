"""The codec as two functions: `compress` an image to bytes, `decompress` bytes to an image.

    encoder = pair.Encoder.load("models/model_variable/encoder_eye.model")
    data = codec.compress(PIL.Image.open("photo.jpg"), encoder, quality=4)
    decoder = pair.Decoder.load("models/model_variable/decoder.model")
    image = codec.decompress(data, decoder)

This is the one file that knows all the parts.
"""

import functools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from coding import container, detail, order, tiles
from coding.container import ContainerError, Encoded
from coding.latents import Latents
from coding.modes import Setting
from coding.tiles import STRIDE
from engines import tiled
from engines.model_file import ModelError
from engines.pair import Decoder, Encoder
from layers import choice, exact
from pictures.picture import Picture, to_image

DEFAULT_QUALITY = 5


def compress(
    image: Image.Image,
    encoder: Encoder,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    lossless: bool = False,
    effort: int = 0,
    progress: bool = False,
) -> bytes:
    """Bytes of a `.encoded` file for a Pillow image of any mode and size.

    quality: 1 to 10, for a model of all rates, 5 if nothing is said; or target_bpp: bits per pixel that the
    file comes near to, before the search; or lossless: keep the colours, in 8 bits, exactly.
    effort: iterations of the search, see `search.py`, which needs the decoder too, and engine="torch".
    progress: show a bar on a terminal. The models' device is used.
    Raises pillow.PictureError for modes that have no RGB, container.ContainerError for pictures beyond the
    format's limits, model_file.ModelError for a decoder that is needed and missing or not the encoder's, and
    ValueError for options that contradict each other or the model.
    """
    _check_options(encoder, quality, target_bpp, lossless, effort)
    container.check_size(*image.size)
    picture = Picture.from_image(image, keep_hidden=lossless)
    if lossless:
        setting = Setting(encoder.config.mode, encoder.config.mode.numbers[0])
        return _pack(exact.separate(picture, exact.all_blocks(picture)), setting, encoder)
    picture, setting, is_exact = _choose(picture, encoder, quality, target_bpp)
    if is_exact:
        return _pack(picture, setting, encoder)
    if effort:
        stripes = _refined_stripes(picture, setting.t, encoder, effort, progress)
    else:
        stripes = tiled.real_stripes(picture, setting.t, encoder, progress)
    payload = encoder.coder.encode(stripes, setting.t)
    return _pack(picture, setting, encoder, payload, _detail(picture, setting, encoder, payload))


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
    rows, columns = tiled.shape_of(metadata)
    rgb, top = np.empty((rows * STRIDE, columns * STRIDE, 3), np.uint8), 0
    stripes = (latents.y for latents in decode_latents(encoded, decoder))  # each (h, w, K), quantized
    parts = tiled.pixel_stripes(stripes, metadata, t, decoder, progress)
    for part in _with_detail(parts, encoded) if encoded.setting.step and encoded.payload else parts:
        rgb[top : top + len(part)] = part
        top += len(part)
    rgb = rgb[: metadata.height, : metadata.width]
    if metadata.layer is not None:
        exact.put(rgb, metadata.layer, is_all=not encoded.payload)
    return to_image(rgb, metadata)


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
    if encoded.setting.tune not in decoder.coder.entropy_model.tunes:
        raise ModelError(f"this decoder lacks the quantization steps of --tune={encoded.setting.tune}")
    return encoded


def decode_latents(encoded: Encoded, decoder: Decoder) -> Iterator[Latents]:
    """The quantized latents in the payload of a file, stripe by stripe; raises entropy.PayloadError.

    There are none where the exact layer is all of the picture.
    """
    if encoded.metadata.layer is not None and not encoded.payload:
        return iter(())
    setting, shape = encoded.setting, tiled.shape_of(encoded.metadata)
    return decoder.coder.tuned(setting.tune).decode(encoded.payload, shape, setting.t)


def _refined_stripes(picture, t, encoder, effort, progress) -> Iterator[Latents]:
    """The real latents of each stripe, after `effort` iterations of the search."""
    from networks import search, window  # which need PyTorch

    shape, no_bar = tiled.shape_of(picture.metadata), tiles.bar(0, progress=False)
    with tiles.bar(effort * tiles.count(shape, search.TILE), progress) as bar:
        for rows in order.stripes(*shape):
            wide = tiles.widened(rows, shape[0], tiles.SYNTHESIS_HALO)
            latents = tiled.analyse(picture, wide, t, encoder, no_bar)
            cost = window.Cost(wide.start, t, picture, encoder)
            yield search.refine(
                latents, slice(rows.start - wide.start, rows.stop - wide.start), cost, effort, bar
            )


def _check_options(encoder, quality, target_bpp, lossless, effort):
    if (quality is not None) + (target_bpp is not None) + lossless > 1:
        raise ValueError("a quality, a target of bits per pixel and a lossless file contradict each other")
    if encoder.config.mode.is_fixed and not (quality is None and target_bpp is None):
        raise ValueError(
            f"a model of {encoder.config.mode.name} mode has one rate: no quality can be asked for"
        )
    if quality is not None and not 1 <= quality <= 10:
        raise ValueError("the quality must be from 1 to 10")
    if target_bpp is not None and not target_bpp > 0:
        raise ValueError("the target of bits per pixel must be positive")
    mode = encoder.config.mode
    setting = Setting(mode, mode.number(quality or DEFAULT_QUALITY), encoder.tune)
    if (effort or setting.step) and encoder.decoder is None:
        raise ModelError("this quality or effort needs decoder.model, which is not beside encoder.model")
    if effort and encoder.decoder.transform.module is None:
        raise ValueError('effort needs an encoder that was loaded with engine="torch"')


def _pack(picture, setting, encoder, payload=b"", detail=b""):
    return container.pack(Encoded(setting, encoder.decoder_id, picture.metadata, payload, detail))


def _choose(picture, encoder, quality, target_bpp):
    """The picture with its exact layer, the setting that is asked for, and whether all is in the layer."""
    setting = _setting(picture, encoder, quality, target_bpp)
    mask = choice.choose(picture, setting.t, encoder)
    layered = exact.separate(picture, mask)
    if target_bpp is None or not mask.any():
        return layered, setting, mask.all()
    if _bytes_for_payload(layered, encoder, target_bpp) < 0:  # the transforms keep to the target
        return picture, setting, False
    return layered, setting if mask.all() else _setting(layered, encoder, None, target_bpp), mask.all()


def _setting(picture, encoder, quality, target_bpp):
    """The setting that is asked for."""
    mode = encoder.config.mode
    if target_bpp is None:
        return Setting(mode, mode.number(quality or DEFAULT_QUALITY), encoder.tune)
    number = _number_of_size(_bytes_for_payload(picture, encoder, target_bpp), picture, encoder)
    return Setting(mode, number, encoder.tune)


def _bytes_for_payload(picture, encoder, target_bpp):
    """How many a file may have that comes near to the target."""
    besides = len(_pack(picture, Setting(encoder.config.mode, encoder.config.mode.numbers[0]), encoder))
    return target_bpp * picture.metadata.width * picture.metadata.height / 8 - besides


def _number_of_size(size, picture, encoder):
    """The number of the rate whose payload and detail layer come nearest to `size` bytes.

    Code lengths find it: those of the initial probabilities. One payload tells how much less the adaptive
    models need. Where the finest rate is too small, detail layers are tried.
    """
    mode, coder = encoder.config.mode, encoder.coder

    def rate(number):
        return Setting(mode, number, encoder.tune).t

    @functools.cache
    def estimate(number):
        t = rate(number)
        return sum(coder.measure(latents, t).bits for latents in tiled.real_stripes(picture, t, encoder)) / 8

    def with_detail(number):
        setting = Setting(mode, number, encoder.tune)
        return len(payload) + len(_detail(picture, setting, encoder, payload))

    numbers = mode.without_detail(encoder.tune)
    number = _nearest(numbers, estimate, size)
    t = rate(number)
    payload = coder.encode(tiled.real_stripes(picture, t, encoder), t)
    number = _nearest(numbers, estimate, size * estimate(number) / len(payload))
    if number == numbers[-1] and mode.detailed and encoder.decoder:
        t = rate(number)
        payload = coder.encode(tiled.real_stripes(picture, t, encoder), t)
        return _nearest(mode.numbers[number:], functools.cache(with_detail), size)
    return number


def _detail(picture, setting, encoder, payload):
    """The detail layer that a setting asks for, of what a payload lacks of the picture."""
    if setting.step is None:
        return b""
    shape = tiled.shape_of(picture.metadata)
    stripes = (latents.y for latents in encoder.coder.decode(payload, shape, setting.t))
    pixels = tiled.pixel_stripes(stripes, picture.metadata, setting.t, encoder.decoder)
    return detail.encode(tiled.lacking(picture, pixels), setting.step, detail.TUNES[setting.tune])


def _with_detail(parts, encoded):
    """The pixels, uint8 (16 h, 16 w, 3), of each stripe with what the detail layer adds to them."""
    rows, columns = tiled.shape_of(encoded.metadata)
    channels = 1 if encoded.metadata.gray else 3
    shapes = [((s.stop - s.start) * STRIDE, columns * STRIDE, channels) for s in order.stripes(rows, columns)]
    setting = encoded.setting
    details = detail.decode(encoded.detail, shapes, setting.step, detail.TUNES[setting.tune])
    for part, lacking in zip(parts, details, strict=True):
        yield np.rint(part + lacking).clip(0, 255).astype(np.uint8)


def _nearest(numbers, size_at, size):
    """The number in a range with size_at(number) nearest to `size`, which grows with it."""
    low, high = numbers[0], numbers[-1]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size_at(middle) <= size else (low, middle)
    return min((low, high), key=lambda number: abs(size_at(number) - size))
