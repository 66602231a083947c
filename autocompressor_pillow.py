"""A plugin for Pillow: after `import autocompressor_pillow` it opens and saves `.encoded` files.

    Image.open("photo.encoded").save("photo.png")
    Image.open("photo.jpg").save("photo.encoded", quality=4)

Options of `save` are `quality`, `target_bpp`, `target_ssimulacra2`, `lossless` and `effort` of
`codec.compress`; `quantize_mode`: "variable", "hard" or "soft"; and `tune`: "psnr" or "eye". Others are
ignored, as all of Pillow's formats do.
"""

import functools

from PIL import Image, ImageFile

from coding import container
from coding.errors import UserError
from coding.modes import MODES, TUNES

FORMAT = "AUTOCOMPRESSOR"
OPTIONS = ("quality", "target_bpp", "target_ssimulacra2", "lossless", "effort")  # of codec.compress


class EncodedImageFile(ImageFile.ImageFile):
    """An open `.encoded` file: size and mode at once, pixels when they are asked for."""

    format = FORMAT
    format_description = "AutoCompressor image"

    def _open(self):
        from pictures import picture

        try:
            metadata = container.unpack(self.fp.read()).metadata
            self.info |= picture.info_of(metadata)
        except UserError as error:
            raise SyntaxError(str(error)) from error  # by which Pillow knows that a file is none of ours
        self._size = metadata.width, metadata.height
        self._mode = ("L" if metadata.one_channel else "RGB") + ("A" if metadata.alpha is not None else "")
        self.tile = []

    def load(self):
        if self.fp is not None:
            self.fp.seek(0)
            self.im = _restore(self.fp.read()).im
            if self._exclusive_fp:
                self.fp.close()
            self.fp = None
        return super().load()


def _restore(data):
    """The image in the bytes of a file; raises OSError, as readers of Pillow do."""
    import codec
    from engines import pair

    try:
        encoded = container.unpack(data)
        decoder = pair.Decoder.find(encoded.decoder_id, encoded.setting.mode.name)
        return codec.decompress(data, decoder)
    except UserError as error:
        raise OSError(str(error)) from error


def _save(image, file, _name):
    import codec

    options = dict(image.encoderinfo)
    mode = options.pop("quantize_mode", "variable")
    if mode not in MODES:
        raise ValueError(f"quantize_mode must be one of {', '.join(MODES)}")
    tune = options.pop("tune", None)
    if tune not in (None, *TUNES):
        raise ValueError(f"tune must be one of {', '.join(TUNES)}")
    known = {name: value for name, value in options.items() if name in OPTIONS}
    engine = "torch" if known.get("effort") else "auto"
    try:
        file.write(codec.compress(image, _encoder(mode, tune or MODES[mode].tune, engine), **known))
    except UserError as error:
        raise OSError(str(error)) from error


@functools.cache
def _encoder(mode, tune, engine):
    from engines import pair, shipped

    return pair.Encoder.load(shipped.path(mode, "encoder", tune), engine=engine)


Image.register_open(FORMAT, EncodedImageFile, lambda prefix: prefix.startswith(container.MAGIC))
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".encoded")
