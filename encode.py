"""Compress an image into a .encoded file.

python3 encode.py --input_path=photo.jpg --output_path=photo.encoded
python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --quality=3
python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --target_bpp=0.5
python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --quantize_mode=hard --effort=50
"""

import argparse
import os
import time

import cli
from coding.modes import MODES


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, add_rate = parser.add_argument, parser.add_mutually_exclusive_group().add_argument
    add("--input_path", required=True, metavar="IMAGE", help="image to compress, any format and mode")
    add("--output_path", required=True, metavar="FILE", help=".encoded file to write")
    modes = "variable: any rate; hard: B=2 and soft: B=10, of one rate (default: the model's, or variable)"
    add("--quantize_mode", choices=MODES, help=modes)
    quality = "of variable mode: from 1, the smallest files, to 10, the best pictures (default: 5)"
    add_rate("--quality", type=float, metavar="Q", help=quality)
    target = "bits per pixel of the whole file that variable mode comes near to, before --effort"
    add_rate("--target_bpp", type=float, metavar="X", help=target)
    add("--encoder_path", metavar="MODEL", help="encoder.model to use (default: the shipped one of the mode)")
    effort = (
        "iterations of refinement, 50 to 200, at 0.1 s for 512x512; needs decoder.model beside (default: 0)"
    )
    add("--effort", type=int, default=0, metavar="N", help=effort)
    add("--device", choices=cli.DEVICES, default="auto", help=cli.DEVICE_HELP)
    add("--quiet", action="store_true", help="print nothing on success")
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
    from coding import files

    image = picture.read(args.input_path)
    path = args.encoder_path or model.shipped(args.quantize_mode or "variable", "encoder")
    device = cli.pick_device(args.device)
    encoder = model.Encoder.load(path, device)
    mode = encoder.config.mode
    if args.quantize_mode not in (None, mode.name):
        raise cli.UserError(f"{path} is a model for --quantize_mode={mode.name}")
    if mode.is_fixed and (args.quality is not None or args.target_bpp is not None):
        raise cli.UserError("--quality and --target_bpp need --quantize_mode=variable")
    beside = os.path.join(os.path.dirname(path), "decoder.model")
    decoder = model.Decoder.load(beside, device) if args.effort else None

    began = time.perf_counter()
    options = {"quality": args.quality, "target_bpp": args.target_bpp, "effort": args.effort}
    data = codec.compress(image, encoder, **options, decoder=decoder, progress=not args.quiet)
    seconds = time.perf_counter() - began
    files.write(args.output_path, data)
    if args.quiet:
        return
    bpp = 8 * len(data) / (image.width * image.height)
    print(f"{args.output_path}: {len(data)} bytes, {bpp:.4f} bpp, {seconds:.2f} s")
    if args.target_bpp is not None and abs(bpp / args.target_bpp - 1) > 0.1:
        cli.warn(f"{bpp:.4f} bpp instead of {args.target_bpp:g}")


if __name__ == "__main__":
    cli.run(main)
