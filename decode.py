"""Restore the images in .encoded files.

python3 decode.py --input_path=photo.encoded --output_path=photo.png
python3 decode.py --input_path=encoded/ --output_path=restored/ --jobs=4
python3 decode.py --input_path=- --output_path=- < photo.encoded > photo.png
python3 decode.py --info photo.encoded
"""

import argparse
import functools
import json
import os
import time

import batch
import cli
from coding import container
from coding.modes import MODES


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    inputs = ".encoded file to restore; a folder or a quoted pattern of them; - is standard input"
    add("--input_path", metavar="FILE", help=inputs)
    outputs = (
        "image to write, whose extension chooses the format: WebP is written without losses, JPEG and AVIF "
        "compress once more, with quality 95; or a folder for a PNG file; for many files a folder, which "
        "mirrors theirs, of PNG files; - is standard output, for a PNG file, as pipes are"
    )
    add("--output_path", metavar="IMAGE", help=outputs)
    add("--quantize_mode", choices=MODES, help="refuse a file of another mode (default: the file says)")
    decoders = (
        "decoder.model to use (default: the one that the file names, in models/ or in the folders of "
        "AUTOCOMPRESSOR_MODELS)"
    )
    add("--decoder_path", metavar="MODEL", help=decoders)
    cli.add_common_options(add)
    add("--info", metavar="FILE", help="print the header of FILE as JSON and do nothing else")
    args = parser.parse_args()
    if args.info:
        return args
    if not (args.input_path and args.output_path):
        parser.error("--input_path and --output_path are required")
    batch.check_options(parser, args)
    return args


@functools.cache
def load(path, device, engine):
    """The decoder in `path`."""
    from engines import pair

    return pair.Decoder.load(path, device, engine)


def decoder_for(encoded, args):
    """The decoder that is asked for, or the one that a container.Encoded names; raises UserError."""
    from engines import pair

    device = cli.pick_device(args.device)
    if args.decoder_path:
        return load(args.decoder_path, device, args.engine)
    return pair.Decoder.find(encoded.decoder_id, encoded.setting.mode.name, device, args.engine)


def decode(args, source, target, progress=False):
    """Restore an image from a `.encoded` file; returns the bits per pixel of this, and None for a score."""
    with cli.about(source):
        data = cli.read(source)
        encoded = container.unpack(data)
        mode, size = encoded.setting.mode.name, (encoded.metadata.width, encoded.metadata.height)
        if args.quantize_mode not in (None, mode):
            raise cli.UserError(f"was encoded with --quantize_mode={mode}")

    import codec
    from pictures import writing

    if not cli.is_stream(target):
        writing.check_writable(target, size)
    with cli.about(source):
        decoder = decoder_for(encoded, args)
        began = time.perf_counter()
        image = codec.decompress(data, decoder, progress=progress)
    seconds = time.perf_counter() - began
    with cli.about(target):
        if cli.is_stream(target):
            cli.write(target, writing.to_png(image))
        else:
            writing.write(image, target)
    bpp = 8 * len(data) / (image.width * image.height)
    if progress:
        is_lossy = not cli.is_stream(target) and writing.changes_pixels(target)
        again = "; its format compresses once more" if is_lossy else ""
        size = f"{image.width}x{image.height}"
        cli.tell(f"{target}: {size}, from {len(data)} bytes, {bpp:.4f} bpp, {seconds:.2f} s{again}", target)
    return bpp, None


def is_encoded(path):
    """Whether a file of a folder or a pattern is taken."""
    return path.lower().endswith(".encoded")


def restored(name):
    """The name of the image that a file becomes, where none is given."""
    return os.path.splitext(name)[0] + ".png"


def main():
    args = parse_args()
    if args.info:
        with cli.about(args.info):
            header = container.describe(cli.read(args.info))
        print(json.dumps(header, indent=2))
    elif batch.is_many(args.input_path):
        jobs, others = batch.plan(args.input_path, args.output_path, is_encoded, restored)
        batch.run(jobs, others, functools.partial(decode, args), args)
    else:
        target = batch.target_of_one(args.input_path, args.output_path, restored)
        with cli.warning_of(args.input_path):
            decode(args, args.input_path, target, progress=not args.quiet)


if __name__ == "__main__":
    cli.run(main)
