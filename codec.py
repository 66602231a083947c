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
from model import STRIDE, ModelError


def compress(image, encoder, decoder=None, effort=0, progress=False):
    """Bytes of a `.encoded` file for a Pillow image of any mode and size.

    effort: steps of `refine.refine`, which need the decoder. The models' device is used; `progress`
    shows a bar on a terminal. Raises picture.PictureError for modes that have no RGB,
    bitstream.BitstreamError for pictures beyond the format's limits and model.ModelError for a decoder
    that is not the encoder's.
    """
    bitstream.check_size(*image.size)
    parts = picture.split(image)
    height, width = parts.rgb.shape[:2]
    latent = analyse(parts.rgb, encoder, progress=progress)  # (C, ceil(H/16), ceil(W/16))
    if effort:
        if decoder.model_id != encoder.model_id:
            raise ModelError("the decoder is not the one that this encoder was trained with")
        latent = refine.refine(parts.rgb, latent, encoder, decoder, _bank(encoder), effort, parts.gray, progress=progress)
    payload = entropy.encode(latent.reshape(len(latent), -1), _bank(encoder))
    config = encoder.config
    return bitstream.pack(bitstream.Encoded(
        config.quantize_mode, config.B, width, height, encoder.model_id, payload,
        parts.gray, parts.one_channel, parts.alpha, parts.icc, parts.exif))


def decompress(data, decoder, progress=False):
    """The Pillow image (L, LA, RGB or RGBA) in the bytes of a `.encoded` file.

    The decoder's device is used; `progress` shows a bar on a terminal. Raises bitstream.BitstreamError, entropy.PayloadError or
    picture.PictureError for damaged data and model.ModelError if another decoder is needed.
    """
    encoded = bitstream.unpack(data)
    if encoded.model_id != decoder.model_id:
        raise ModelError(f"the file needs the decoder {encoded.model_id.hex()}, this one is {decoder.model_id.hex()}")
    latent = read_latent(encoded, decoder)
    rgb = synthesise(latent, decoder, encoded.gray, progress=progress)[:encoded.height, :encoded.width]
    return picture.join(picture.Picture(rgb, encoded.gray, encoded.one_channel,
                                        encoded.alpha, encoded.icc, encoded.exif))


def read_latent(encoded, decoder):
    """Integers in [0, 2^B], int64 (C, ceil(H/16), ceil(W/16)), in the payload of a bitstream.Encoded."""
    rows, columns = -(-encoded.height // STRIDE), -(-encoded.width // STRIDE)
    latent = entropy.decode(encoded.payload, _bank(decoder), rows * columns)
    if latent.min() < 0 or latent.max() > 2**encoded.B:
        raise entropy.PayloadError("the payload is damaged")
    return latent.reshape(-1, rows, columns)


@torch.inference_mode()
def analyse(rgb, encoder, tile=tiles.TILE, progress=False):
    """Integers in [0, 2^B], (C, ceil(H/16), ceil(W/16)), of pixels uint8 (H, W, 3)."""
    padded = picture.pad(rgb, STRIDE)

    def transform(part):  # uint8 (h, w, 3) -> (h/16, w/16, C)
        f = encoder(tiles.to_tensor(part, encoder) / 255)
        return quantize.quantize(f, encoder.config.B)[0].permute(1, 2, 0).cpu().numpy()

    out = np.empty((padded.shape[0] // STRIDE, padded.shape[1] // STRIDE, encoder.config.latent_channels), np.int32)
    tiles.transform(transform, padded, True, out, False, tile, progress)
    return out.transpose(2, 0, 1)


@torch.inference_mode()
def synthesise(latent, decoder, gray=False, tile=tiles.TILE, progress=False):
    """Pixels uint8 (H, W, 3), H and W multiples of 16, of integers (C, H/16, W/16) in [0, 2^B]."""
    def transform(part):  # (h, w, C) -> uint8 (16 h, 16 w, 3)
        x = decoder(quantize.dequantize(tiles.to_tensor(part, decoder), decoder.config.B))
        if gray:
            x = x.mean(1, keepdim=True).expand_as(x)
        return x[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).byte().cpu().numpy()

    _, rows, columns = latent.shape
    out = np.empty((rows * STRIDE, columns * STRIDE, 3), np.uint8)
    tiles.transform(transform, latent.transpose(1, 2, 0), False, out, True, tile, progress)
    return out


def _bank(module):
    try:
        return entropy.Bank(module.bank["lowest"].numpy(), module.bank["frequencies"].numpy())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError("the model holds no usable entropy coder") from error
