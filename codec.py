"""The codec as two functions: `compress` an image to bytes, `decompress` bytes to an image.

    encoder = model.load("models/model_B=2/encoder.model", "encoder")
    data = codec.compress(PIL.Image.open("photo.jpg"), encoder)
    decoder = model.load("models/model_B=2/decoder.model", "decoder")
    image = codec.decompress(data, decoder)

This is the one file that knows all the parts.
"""
import numpy as np
import torch

import bitstream
import entropy
import picture
import quantize
import refine
import tiles
import variable
from model import STRIDE, ModelError


def compress(image, encoder, decoder=None, effort=0, quality=5, target_bpp=None, progress=False):
    """Bytes of a `.encoded` file for a Pillow image of any mode and size.

    effort: steps of refinement, see `refine.py`, which need the decoder; in variable mode quality: 1 to 10,
    or target_bpp: bits per pixel to come near to, before refinement. The models' device is used;
    `progress` shows a bar on a terminal. Raises picture.PictureError for modes that have no RGB,
    bitstream.BitstreamError for pictures beyond the format's limits, ValueError for a quality that is none and
    model.ModelError for a decoder that is not the encoder's.
    """
    bitstream.check_size(*image.size)
    if encoder.config.quantize_mode == "variable" and not 1 <= quality <= 10:
        raise ValueError("the quality must be from 1 to 10")
    if effort and decoder.model_id != encoder.model_id:
        raise ModelError("the decoder is not the one that this encoder was trained with")
    parts = picture.split(image)
    height, width = parts.rgb.shape[:2]
    config, bank = encoder.config, bank_of(encoder)
    latent = analyse(parts.rgb, encoder, progress=progress)

    def pack(B, payload):
        return bitstream.pack(bitstream.Encoded(
            config.quantize_mode, B, width, height, encoder.model_id, payload,
            parts.gray, parts.one_channel, parts.alpha, parts.icc, parts.exif))

    if config.quantize_mode != "variable":
        if effort:
            latent = refine.refine(parts.rgb, latent, encoder, decoder, bank, effort, parts.gray, progress=progress)
        return pack(config.B, entropy.encode(latent.reshape(len(latent), -1), bank))

    y = torch.from_numpy(latent)[None].to(next(encoder.parameters()).device)

    def code(number, effort=0):
        t = bitstream.rate(number)
        z, b = variable.latents_at(encoder, y, t)
        if effort:
            b = refine.refine_variable(parts.rgb, z, b, t, encoder, decoder, effort, parts.gray, progress=progress)
        return pack(number, variable.encode(encoder.context, bank, z, b, t))

    number = variable.rate_number(quality)
    if target_bpp is not None:
        number = _nearest(lambda number: len(code(number)), target_bpp * width * height / 8)
    return code(number, effort)


def _nearest(size_at, size):
    """The number in 0 ... RATE_STEPS with size_at(number) nearest to `size`, which grows with it."""
    low, high = 0, bitstream.RATE_STEPS
    sizes = {number: size_at(number) for number in (low, high)}
    while high - low > 1:
        middle = (low + high) // 2
        sizes[middle] = size_at(middle)
        low, high = (middle, high) if sizes[middle] <= size else (low, middle)
    return min(sizes, key=lambda number: abs(sizes[number] - size))


def decompress(data, decoder, progress=False):
    """The Pillow image (L, LA, RGB or RGBA) in the bytes of a `.encoded` file.

    The decoder's device is used; `progress` shows a bar on a terminal. Raises bitstream.BitstreamError, entropy.PayloadError or
    picture.PictureError for damaged data and model.ModelError if another decoder is needed.
    """
    encoded = unpack(data, decoder)
    latent = read_latent(encoded, decoder)
    rgb = synthesise(latent, decoder, encoded.gray, encoded.rate, progress=progress)[:encoded.height, :encoded.width]
    return picture.join(picture.Picture(rgb, encoded.gray, encoded.one_channel,
                                        encoded.alpha, encoded.icc, encoded.exif))


def unpack(data, decoder):
    """The bitstream.Encoded in the bytes `data`; raises BitstreamError or ModelError if it is none for this decoder."""
    encoded = bitstream.unpack(data)
    if encoded.model_id != decoder.model_id:
        raise ModelError(f"the file needs the decoder {encoded.model_id.hex()}, this one is {decoder.model_id.hex()}")
    if encoded.quantize_mode != decoder.config.quantize_mode:
        raise bitstream.BitstreamError("the file is damaged (its mode is not that of its decoder)")
    if encoded.quantize_mode != "variable" and encoded.B != decoder.config.B:
        raise bitstream.BitstreamError("the file is damaged (its B is not that of its decoder)")
    return encoded


def read_latent(encoded, decoder):
    """The latent (C, ceil(H/16), ceil(W/16)) in the payload of a bitstream.Encoded: integers in [0, 2^B], in variable
    mode float32, in steps around zero."""
    rows, columns = -(-encoded.height // STRIDE), -(-encoded.width // STRIDE)
    if encoded.quantize_mode == "variable":
        return variable.decode(decoder.context, bank_of(decoder), encoded.payload, rows, columns, encoded.rate)[0].numpy()
    latent = entropy.decode(encoded.payload, bank_of(decoder), rows * columns)
    if latent.min() < 0 or latent.max() > 2**encoded.B:
        raise entropy.PayloadError("the payload is damaged")
    return latent.reshape(-1, rows, columns)


@torch.inference_mode()
def analyse(rgb, encoder, tile=tiles.TILE, progress=False):
    """The latent (C, ceil(H/16), ceil(W/16)) of pixels uint8 (H, W, 3): integers in [0, 2^B], in variable mode
    the real components, which are yet to be quantised."""
    padded = picture.pad(rgb, STRIDE)
    is_variable = encoder.config.quantize_mode == "variable"

    def transform(part):  # uint8 (h, w, 3) -> (h/16, w/16, C)
        x = tiles.to_tensor(part, encoder) / 255
        latent = encoder.steps(x) if is_variable else quantize.quantize(encoder(x), encoder.config.B)
        return latent[0].permute(1, 2, 0).cpu().numpy()

    out = np.empty((padded.shape[0] // STRIDE, padded.shape[1] // STRIDE, encoder.config.latent_channels),
                   np.float32 if is_variable else np.int32)
    tiles.transform(transform, padded, True, out, False, tile, progress)
    return out.transpose(2, 0, 1)


@torch.inference_mode()
def synthesise(latent, decoder, gray=False, rate=None, tile=tiles.TILE, progress=False):
    """Pixels uint8 (H, W, 3), H and W multiples of 16, of a latent (C, H/16, W/16) as of `read_latent`, in variable mode
    coded at the given rate."""
    def transform(part):  # (h, w, C) -> uint8 (16 h, 16 w, 3)
        b = tiles.to_tensor(part, decoder)
        if decoder.config.quantize_mode == "variable":
            t = torch.tensor([rate], device=b.device)
            x = decoder.pixels(decoder.from_rate(b, t), t)
        else:
            x = decoder(quantize.dequantize(b, decoder.config.B))
        if gray:
            x = x.mean(1, keepdim=True).expand_as(x)
        return x[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).byte().cpu().numpy()

    _, rows, columns = latent.shape
    out = np.empty((rows * STRIDE, columns * STRIDE, 3), np.uint8)
    tiles.transform(transform, latent.transpose(1, 2, 0), False, out, True, tile, progress)
    return out


def bank_of(module):
    """The entropy.Bank of an Encoder or Decoder; raises ModelError if it has none."""
    try:
        return entropy.Bank(module.bank["lowest"].numpy(), module.bank["frequencies"].numpy())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError("the model holds no usable entropy coder") from error
