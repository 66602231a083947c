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
import latent_coder
import picture
import quantize
import refine
import tiles
from model import STRIDE, ModelError


def compress(image, encoder, decoder=None, effort=0, quality=5, target_bpp=None, progress=False):
    """Bytes of a `.encoded` file for a Pillow image of any mode and size.

    effort: steps of refinement, see `refine.py`, which need the decoder; in variable mode quality: 1 to 10,
    or target_bpp: bits per pixel to come near to, before refinement. The models' device is used;
    `progress` shows a bar on a terminal. Raises picture.PictureError for modes that have no RGB,
    bitstream.BitstreamError for pictures beyond the format's limits, ValueError for a quality that is none and
    model.ModelError for a decoder that is not the encoder's, or effort with models of an earlier version.
    """
    bitstream.check_size(*image.size)
    if encoder.config.quantize_mode == "variable" and not 1 <= quality <= 10:
        raise ValueError("the quality must be from 1 to 10")
    if effort and decoder.model_id != encoder.model_id:
        raise ModelError("the decoder is not the one that this encoder was trained with")
    if effort and encoder.context is None:
        raise ModelError("the model is of an earlier version, whose files cannot be refined")
    parts = picture.split(image)
    height, width = parts.rgb.shape[:2]
    config, bank = encoder.config, bank_of(encoder)
    y = torch.from_numpy(analyse(parts.rgb, encoder, progress=progress))[None].to(next(encoder.parameters()).device)

    def pack(B, payload):
        return bitstream.pack(bitstream.Encoded(
            config.quantize_mode, B, width, height, encoder.model_id, payload,
            parts.gray, parts.one_channel, parts.alpha, parts.icc, parts.exif))

    if encoder.context is None:
        return pack(config.B, entropy.encode(quantised(y, encoder)[0].flatten(1), bank))

    def code(number, effort=0):
        t = 0.0 if config.on_grid else bitstream.rate(number)
        z, b = latent_coder.latents_at(encoder, y, t)
        if effort:
            b = refine.refine(parts.rgb, z, b, t, encoder, decoder, effort, parts.gray, progress=progress)
        if config.on_grid:
            b = quantize.to_components(quantised(b, encoder), config.digits, config.B)
        return pack(number, latent_coder.encode(encoder.context, bank, z, b, t))

    if config.on_grid:
        return code(config.B, effort)
    number = latent_coder.rate_number(quality)
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
    bank, config = bank_of(decoder), decoder.config
    if decoder.context is None:
        latent = entropy.decode(encoded.payload, bank, rows * columns).reshape(-1, rows, columns)
        if latent.min() < 0 or latent.max() > 2**encoded.B:
            raise entropy.PayloadError("the payload is damaged")
        return latent
    b = latent_coder.decode(decoder.context, bank, encoded.payload, rows, columns, encoded.rate, config.limits)
    return quantize.to_latent(b, config.digits, config.B)[0].int().numpy() if config.on_grid else b[0].numpy()


@torch.inference_mode()
def analyse(rgb, encoder, tile=tiles.TILE, progress=False):
    """The real components, float32 (K, ceil(H/16), ceil(W/16)), of pixels uint8 (H, W, 3)."""
    padded = picture.pad(rgb, STRIDE)

    def transform(part):  # uint8 (h, w, 3) -> (h/16, w/16, K)
        return encoder.steps(tiles.to_tensor(part, encoder) / 255)[0].permute(1, 2, 0).cpu().numpy()

    out = np.empty((padded.shape[0] // STRIDE, padded.shape[1] // STRIDE, len(encoder.config.digits)), np.float32)
    tiles.transform(transform, padded, True, out, False, tile, progress)
    return out.transpose(2, 0, 1)


def quantised(y, encoder):
    """The latent of hard or soft mode, int32 (1, C, h, w) in [0, 2^B], of real components y (1, K, h, w)."""
    return quantize.quantize(encoder.latent(y), encoder.config.B).int().cpu()


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
