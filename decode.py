"""Restore the image in a .encoded file.

    python3 decode.py --input_path=photo.encoded --output_path=photo.png
    python3 decode.py --info photo.encoded
"""
import argparse
import json
import os
import time

import cli
from coding import container
from coding.modes import MODES


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input_path", metavar="FILE", help=".encoded file to restore")
    parser.add_argument("--output_path", metavar="IMAGE", help="image to write; its extension chooses the format")
    parser.add_argument("--quantize_mode", choices=MODES,
                        help="refuse a file of another mode (default: the file says)")
    parser.add_argument("--decoder_path", metavar="MODEL",
                        help="decoder.model to use (default: the shipped one of the file's mode)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="where the network runs (default: auto, a GPU if there is one)")
    parser.add_argument("--quiet", action="store_true", help="print nothing on success")
    parser.add_argument("--info", metavar="FILE", help="print the header of FILE as JSON and do nothing else")
    args = parser.parse_args()
    if not args.info and not (args.input_path and args.output_path):
        parser.error("--input_path and --output_path are required")
    return args


def image_format(path):
    """Pillow's name of the format that the extension of `path` stands for."""
    from PIL import Image
    extension = os.path.splitext(path)[1].lower()
    name = Image.registered_extensions().get(extension)
    if name not in Image.SAVE:
        raise cli.UserError(f"{path}: cannot write images of type '{extension}'; try .png")
    return name


def main():
    args = parse_args()
    with open(args.info or args.input_path, "rb") as file:
        data = file.read()
    if args.info:
        print(json.dumps(container.describe(data), indent=2))
        return
    mode = container.unpack(data).setting.mode.name
    if args.quantize_mode not in (None, mode):
        raise cli.UserError(f"{args.input_path} was encoded with --quantize_mode={mode}")
    format_name = image_format(args.output_path)

    import codec
    import model
    from coding.files import replacing
    decoder = model.Decoder.load(args.decoder_path or model.shipped(mode, "decoder"), cli.pick_device(args.device))
    began = time.perf_counter()
    image = codec.decompress(data, decoder, progress=not args.quiet)
    seconds = time.perf_counter() - began
    with replacing(args.output_path) as temporary:
        kept = {key: image.info[key] for key in ("exif", "icc_profile") if key in image.info}
        image.save(temporary, format_name, quality=95, **kept)
    if not args.quiet:
        bpp = 8 * len(data) / (image.width * image.height)
        print(f"{args.output_path}: {image.width}x{image.height}, from {len(data)} bytes, {bpp:.4f} bpp, {seconds:.2f} s")


if __name__ == "__main__":
    cli.run(main)
