"""The codec as two functions: `compress` an image to bytes, `decompress` bytes to an image.

    encoder = model.load("models/model_B=2/encoder.model", "encoder")
    data = codec.compress(PIL.Image.open("photo.jpg"), encoder)
    decoder = model.load("models/model_B=2/decoder.model", "decoder")
    image = codec.decompress(data, decoder)

This is the one file that knows all the parts. The transforms run in tiles, with a margin as wide as
they can see, so that memory does not grow with the picture and no seam shows.
"""
import numpy as np
import torch
from tqdm import tqdm

import bitstream
import entropy
import picture
import quantize
from model import STRIDE, ModelError

TILE = 64  # latents a side, 1024 pixels
HALO = 8   # latents a side, 128 pixels; the encoder sees 105 pixels around a point, the decoder 7.25 latents


def compress(image, encoder, progress=False):
    """Bytes of a `.encoded` file for a Pillow image of any mode and size.

    The encoder's device is used; `progress` shows a bar on a terminal. Raises picture.PictureError for modes that have no RGB and
    bitstream.BitstreamError for pictures beyond the format's limits.
    """
    bitstream.check_size(*image.size)
    parts = picture.split(image)
    height, width = parts.rgb.shape[:2]
    latent = analyse(parts.rgb, encoder, progress=progress)  # (C, ceil(H/16), ceil(W/16))
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
def analyse(rgb, encoder, tile=TILE, progress=False):
    """Integers in [0, 2^B], (C, ceil(H/16), ceil(W/16)), of pixels uint8 (H, W, 3)."""
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), "edge")

    def transform(part):  # uint8 (h, w, 3) -> (h/16, w/16, C)
        f = encoder(_to_tensor(part, encoder) / 255)
        return quantize.quantize(f, encoder.config.B)[0].permute(1, 2, 0).cpu().numpy()

    out = np.empty((padded.shape[0] // STRIDE, padded.shape[1] // STRIDE, encoder.config.latent_channels), np.int32)
    _in_tiles(transform, padded, STRIDE, out, 1, tile, progress)
    return out.transpose(2, 0, 1)


@torch.inference_mode()
def synthesise(latent, decoder, gray=False, tile=TILE, progress=False):
    """Pixels uint8 (H, W, 3), H and W multiples of 16, of integers (C, H/16, W/16) in [0, 2^B]."""
    def transform(part):  # (h, w, C) -> uint8 (16 h, 16 w, 3)
        x = decoder(quantize.dequantize(_to_tensor(part, decoder), decoder.config.B))
        if gray:
            x = x.mean(1, keepdim=True).expand_as(x)
        return x[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).byte().cpu().numpy()

    _, rows, columns = latent.shape
    out = np.empty((rows * STRIDE, columns * STRIDE, 3), np.uint8)
    _in_tiles(transform, latent.transpose(1, 2, 0), 1, out, STRIDE, tile, progress)
    return out


def _in_tiles(transform, source, source_step, out, out_step, tile, progress):
    """Fill `out` with transform(source) piece by piece; a latent is `*_step` pixels of either array."""
    rows, columns = source.shape[0] // source_step, source.shape[1] // source_step
    corners = [(top, left) for top in range(0, rows, tile) for left in range(0, columns, tile)]
    for top, left in tqdm(corners, unit="tile", delay=1, leave=False, disable=None if progress else True):
        bottom, right = min(top + tile, rows), min(left + tile, columns)
        first_row, first_column = max(top - HALO, 0), max(left - HALO, 0)
        part = source[first_row * source_step:(bottom + HALO) * source_step,
                      first_column * source_step:(right + HALO) * source_step]
        done = transform(part)
        out[top * out_step:bottom * out_step, left * out_step:right * out_step] = \
            done[(top - first_row) * out_step:(bottom - first_row) * out_step,
                 (left - first_column) * out_step:(right - first_column) * out_step]


def _to_tensor(array, module):
    """Float (1, C, H, W), channels last, on the module's device, of an array (H, W, C)."""
    device = next(module.parameters()).device
    return torch.from_numpy(np.ascontiguousarray(array)).to(device).permute(2, 0, 1)[None].float()


def _bank(module):
    try:
        return entropy.Bank(module.bank["lowest"].numpy(), module.bank["frequencies"].numpy())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError("the model holds no usable entropy coder") from error
