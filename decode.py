"""Restore the image in a .encoded file.

python3 decode.py --input_path=photo.encoded --output_path=photo.png
python3 decode.py --info photo.encoded
"""

import argparse
import json
import time

import cli
from coding import container
from coding.modes import MODES


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--input_path", metavar="FILE", help=".encoded file to restore")
    add("--output_path", metavar="IMAGE", help="image to write; its extension chooses the format")
    add("--quantize_mode", choices=MODES, help="refuse a file of another mode (default: the file says)")
    add(
        "--decoder_path",
        metavar="MODEL",
        help="decoder.model to use (default: the shipped one of the file's mode)",
    )
    add("--device", choices=cli.DEVICES, default="auto", help=cli.DEVICE_HELP)
    add("--quiet", action="store_true", help="print nothing on success")
    add("--info", metavar="FILE", help="print the header of FILE as JSON and do nothing else")
    args = parser.parse_args()
    if not args.info and not (args.input_path and args.output_path):
        parser.error("--input_path and --output_path are required")
    return args


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

    import codec
    import model
    import picture

    picture.check_writable(args.output_path)
    decoder = model.Decoder.load(
        args.decoder_path or model.shipped(mode, "decoder"), cli.pick_device(args.device)
    )
    began = time.perf_counter()
    image = codec.decompress(data, decoder, progress=not args.quiet)
    seconds = time.perf_counter() - began
    picture.write(image, args.output_path)
    if not args.quiet:
        bpp = 8 * len(data) / (image.width * image.height)
        size = f"{image.width}x{image.height}"
        print(f"{args.output_path}: {size}, from {len(data)} bytes, {bpp:.4f} bpp, {seconds:.2f} s")


if __name__ == "__main__":
    cli.run(main)
