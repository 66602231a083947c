"""Compress an image into a .encoded file.

    python3 encode.py --input_path=photo.jpg --output_path=photo.encoded
    python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --quality=3
    python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --target_bpp=0.5
    python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --quantize_mode=hard --effort=50
"""
import argparse
import os
import sys
import time

import cli
from coding.modes import MODES


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input_path", required=True, metavar="IMAGE", help="image to compress, any format and mode")
    parser.add_argument("--output_path", required=True, metavar="FILE", help=".encoded file to write")
    parser.add_argument("--quantize_mode", choices=MODES,
                        help="variable: any rate, see --quality; hard: B=2 and soft: B=10, two fixed rates "
                             "(default: the model's, or variable)")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--quality", type=float, metavar="Q",
                      help="of variable mode: 1 for the smallest files to 10 for the best pictures, and between (default: 5)")
    rate.add_argument("--target_bpp", type=float, metavar="X",
                      help="bits per pixel of the whole file that variable mode is to come near to, before --effort")
    parser.add_argument("--encoder_path", metavar="MODEL",
                        help="encoder.model to use (default: the shipped one of the mode)")
    parser.add_argument("--effort", type=int, default=0, metavar="N",
                        help="iterations of refinement, to a better picture for its bytes: 50 gives most of it, 200 all, "
                             "at some 0.1 s each for 512x512 pixels; needs decoder.model beside the encoder (default: 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="where the network runs (default: auto, a GPU if there is one)")
    parser.add_argument("--quiet", action="store_true", help="print nothing on success")
    args = parser.parse_args()
    if args.effort < 0:
        parser.error("--effort must not be negative")
    if args.quality is not None and not 1 <= args.quality <= 10:
        parser.error("--quality must be from 1 to 10")
    if args.target_bpp is not None and not 0 < args.target_bpp < float("inf"):
        parser.error("--target_bpp must be positive")
    return args


def main():
    args = parse_args()
    import codec
    import model
    import picture
    from coding.files import replacing

    image = picture.read(args.input_path)
    path = args.encoder_path or model.shipped(args.quantize_mode or "variable", "encoder")
    device = cli.pick_device(args.device)
    encoder = model.Encoder.load(path, device)
    check_mode(args, path, encoder.config.mode)
    decoder = None
    if args.effort:
        decoder = model.Decoder.load(os.path.join(os.path.dirname(path), "decoder.model"), device)

    began = time.perf_counter()
    data = codec.compress(image, encoder, quality=args.quality, target_bpp=args.target_bpp, effort=args.effort,
                          decoder=decoder, progress=not args.quiet)
    seconds = time.perf_counter() - began
    with replacing(args.output_path) as temporary, open(temporary, "wb") as file:
        file.write(data)
    if not args.quiet:
        tell(args, len(data), 8 * len(data) / (image.width * image.height), seconds)


def check_mode(args, path, mode):
    """Refuse options that the model in `path`, of a modes.Mode, cannot meet."""
    if args.quantize_mode not in (None, mode.name):
        raise cli.UserError(f"{path} is a model for --quantize_mode={mode.name}")
    if mode.is_fixed and (args.quality is not None or args.target_bpp is not None):
        raise cli.UserError("--quality and --target_bpp need --quantize_mode=variable")


def tell(args, size, bpp, seconds):
    """Print what was made: a file of `size` bytes."""
    print(f"{args.output_path}: {size} bytes, {bpp:.4f} bpp, {seconds:.2f} s")
    if args.target_bpp is not None and abs(bpp / args.target_bpp - 1) > 0.1:
        print(f"encode.py: warning: {bpp:.4f} bpp instead of {args.target_bpp:g}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
