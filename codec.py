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

from coding import container
from coding.container import ContainerError, Encoded
from coding.latents import Latents
from coding.modes import Setting
from coding.tiles import STRIDE
from encoder import rate_control, refinement, score
from engines import tiled
from engines.model_file import ModelError
from engines.pair import Decoder, Encoder
from layers import detail, exact
from pictures.picture import Picture, to_image

DEFAULT_QUALITY = 6.5  # photographs have a SSIMULACRA2 of about 70


def compress(
    image: Image.Image,
    encoder: Encoder,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_ssimulacra2: float | None = None,
    lossless: bool = False,
    effort: int = 0,
    progress: bool = False,
) -> bytes:
    """Bytes of a `.encoded` file for a Pillow image of any mode and size.

    quality: 1 to 10, for a model of all rates, 6.5 if nothing is said; or target_bpp: bits per pixel that the
    file comes near to, before the search; or target_ssimulacra2: see `compress_to_score`; or lossless: keep
    the colours, in 8 bits, exactly.
    effort: iterations of the search, see `search.py`, which needs the decoder too, and engine="torch".
    progress: show a bar on a terminal. The models' device is used.
    Raises pillow.PictureError for modes that have no RGB, container.ContainerError for pictures beyond the
    format's limits, model_file.ModelError for a decoder that is needed and missing or not the encoder's, and
    ValueError for options that contradict each other or the model.
    """
    check_options(encoder, quality, target_bpp, target_ssimulacra2, lossless, effort)
    if target_ssimulacra2 is not None:
        return compress_to_score(image, encoder, target_ssimulacra2, effort=effort, progress=progress)[0]
    container.check_size(*image.size)
    picture = Picture.from_image(image, keep_hidden=lossless)
    if lossless:
        setting = Setting(encoder.config.mode, encoder.config.mode.numbers[0])
        return _pack(exact.separate(picture, exact.all_blocks(picture)), setting, encoder)
    if target_bpp is not None:
        chosen = rate_control.choose_for_bpp(picture, target_bpp, encoder)
    else:
        number = encoder.config.mode.number(quality or DEFAULT_QUALITY)
        chosen = rate_control.choose(picture, number, encoder)
    return _encode(chosen, encoder, effort, progress)


def compress_to_score(
    image: Image.Image,
    encoder: Encoder,
    target: float,
    *,
    effort: int = 0,
    progress: bool = False,
) -> tuple[bytes, float]:
    """Bytes of a file whose picture has a score of SSIMULACRA2 near to a target, and the score that it has.

    The score is that of the decoded colours, in 8 bits. It is met before the search, by some codings of the
    picture, whose decoder and PyTorch are needed; see `rate_control.number_of_score`.
    target: 0 to 100; the others: as of `compress`.
    Raises as `compress`, UserError where PyTorch is missing, and pillow.PictureError for a small picture.
    """
    check_options(encoder, target_ssimulacra2=target, effort=effort)
    container.check_size(*image.size)
    score.check_size(*image.size)
    picture = Picture.from_image(image)

    def measured(data):
        return data, score.of(_pixels(unpack(data, encoder.decoder), encoder.decoder), picture)

    @functools.cache
    def trial(number):
        return measured(_encode(rate_control.choose(picture, number, encoder), encoder, progress=progress))

    numbers = encoder.config.mode.numbers
    number = rate_control.number_of_score(target, numbers, lambda number: trial(number)[1])
    if not effort:
        return trial(number)
    return measured(_encode(rate_control.choose(picture, number, encoder), encoder, effort, progress))


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
    return to_image(_pixels(encoded, decoder, progress), encoded.metadata)


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


def check_options(
    encoder: Encoder,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_ssimulacra2: float | None = None,
    lossless: bool = False,
    effort: int = 0,
) -> None:
    """Raise as `compress` for options that contradict each other or the model, or need what is missing."""
    targets = quality, target_bpp, target_ssimulacra2
    if sum(target is not None for target in targets) + lossless > 1:
        raise ValueError("a quality, a target and a lossless file contradict each other")
    if encoder.config.mode.is_fixed and targets != (None, None, None):
        raise ValueError(
            f"a model of {encoder.config.mode.name} mode has one rate: no quality can be asked for"
        )
    if quality is not None and not 1 <= quality <= 10:
        raise ValueError("the quality must be from 1 to 10")
    if target_bpp is not None and not target_bpp > 0:
        raise ValueError("the target of bits per pixel must be positive")
    if target_ssimulacra2 is not None and not 0 <= target_ssimulacra2 <= 100:
        raise ValueError("the target of SSIMULACRA2 must be from 0 to 100")
    mode = encoder.config.mode
    setting = Setting(mode, mode.number(quality or DEFAULT_QUALITY), encoder.tune)
    if (effort or setting.step or target_ssimulacra2 is not None) and encoder.decoder is None:
        raise ModelError("what is asked for needs decoder.model, which is not beside encoder.model")
    if effort and encoder.decoder.transform.module is None:
        raise ValueError('effort needs an encoder that was loaded with engine="torch"')
    if target_ssimulacra2 is not None:
        score.load()


def _encode(chosen, encoder, effort=0, progress=False):
    """The bytes of a file for a rate_control.Chosen."""
    picture, setting = chosen.picture, chosen.setting
    if chosen.is_exact:
        return _pack(picture, setting, encoder)
    if effort:
        stripes = refinement.refined_stripes(picture, setting.t, encoder, effort, progress)
    else:
        stripes = tiled.real_stripes(picture, setting.t, encoder, progress)
    payload = encoder.coder.encode(stripes, setting.t)
    return _pack(picture, setting, encoder, payload, detail.encode(picture, setting, encoder, payload))


def _pack(picture, setting, encoder, payload=b"", detail=b""):
    return container.pack(Encoded(setting, encoder.decoder_id, picture.metadata, payload, detail))


def _pixels(encoded, decoder, progress=False):
    """The decoded pixels of a file, uint8 (H, W, 3)."""
    metadata, t = encoded.metadata, encoded.setting.t
    rows, columns = tiled.shape_of(metadata)
    rgb, top = np.empty((rows * STRIDE, columns * STRIDE, 3), np.uint8), 0
    stripes = (latents.y for latents in decode_latents(encoded, decoder))  # each (h, w, K), quantized
    for part in detail.add(tiled.pixel_stripes(stripes, metadata, t, decoder, progress), encoded):
        rgb[top : top + len(part)] = part
        top += len(part)
    rgb = rgb[: metadata.height, : metadata.width]
    if metadata.layer is not None:
        exact.put(rgb, metadata.layer, is_all=not encoded.payload)
    return rgb
