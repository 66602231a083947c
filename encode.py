"""Compress images into .encoded files.

python3 encode.py --input_path=photo.jpg --output_path=photo.encoded
python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --quality=3
python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --target_bpp=0.5
python3 encode.py --input_path=photos/ --output_path=encoded/ --target_ssimulacra2=75
python3 encode.py --input_path=photo.jpg --output_path=photo.encoded --quantize_mode=hard --effort=50
python3 encode.py --input_path=drawing.png --output_path=drawing.encoded --lossless
python3 encode.py --input_path=photos/ --output_path=encoded/ --jobs=4
convert photo.png ppm:- | python3 encode.py --input_path=- --output_path=- > photo.encoded
"""

import argparse
import functools
import io
import logging
import time

import batch
import cli
from coding import container
from coding.modes import MODES, TUNES

logger = logging.getLogger("encode")


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=cli.SCALE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, add_rate = parser.add_argument, parser.add_mutually_exclusive_group().add_argument
    inputs = (
        "image to compress, any format and mode; - is standard input; a folder or a quoted pattern, of which "
        ".png, .jpg, .jpeg, .webp, .avif, .bmp, .tif, .tiff and .ppm files are taken"
    )
    add("--input_path", required=True, metavar="IMAGE", help=inputs)
    outputs = (
        ".encoded file to write, or a folder for it, IMAGE.encoded; for many images a folder, which mirrors "
        "theirs; - is standard output"
    )
    add("--output_path", required=True, metavar="FILE", help=outputs)
    modes = "variable: any rate; hard: B=2 and soft: B=10, of one rate (default: the model's, or variable)"
    add("--quantize_mode", choices=MODES, help=modes)
    tune = (
        "eye: what people see; psnr: the least squared error; decoders are the same (default: the model's, "
        "or eye in variable mode and psnr in the others)"
    )
    add("--tune", choices=TUNES, help=tune)
    cli.add_rate_options(add_rate)
    add("--encoder_path", metavar="MODEL", help="encoder.model to use (default: the shipped one of the mode)")
    effort = (
        "iterations of refinement, 20 to 100, at 0.2 to 1 s for 512x512; needs decoder.model beside "
        "(default: 0)"
    )
    add("--effort", type=int, default=0, metavar="N", help=effort)
    strip = (
        "leave out EXIF, XMP and resolution; an ICC profile is applied, and the colours become those of sRGB"
    )
    add("--strip", action="store_true", help=strip)
    tolerant = "take what there is of a damaged image, with a warning (default: refuse it)"
    add("--tolerant", action="store_true", help=tolerant)
    cli.add_common_options(add)
    args = parser.parse_args()
    if args.effort and args.engine == "onnx":
        parser.error("--effort needs --engine=torch")
    if args.effort < 0:
        parser.error("--effort must not be negative")
    if not (args.input_path and args.output_path):
        parser.error("--input_path and --output_path must not be empty")
    if args.quantize_mode and not args.encoder_path:
        cli.check_mode(parser, args)
    batch.check_options(parser, args)
    return args


@functools.cache
def load(path, device, engine):
    """The encoder in `path`."""
    from engines import pair

    return pair.Encoder.load(path, device, engine)


def model(args):
    """The encoder that is asked for, with all that the options need; raises UserError."""
    import codec
    from engines import shipped

    path = args.encoder_path or shipped.path(args.quantize_mode or "variable", "encoder", args.tune)
    engine = "torch" if args.effort and args.engine == "auto" else args.engine
    encoder = load(path, cli.pick_device(args.device), engine)
    mode = encoder.config.mode
    if args.quantize_mode not in (None, mode.name):
        raise cli.UserError(f"{path} is a model for --quantize_mode={mode.name}")
    if args.tune not in (None, encoder.tune):
        raise cli.UserError(f"{path} is a model for --tune={encoder.tune}")
    if mode.is_fixed and cli.asks_for_rate(args):
        raise cli.UserError(cli.RATE_IS_FIXED)
    codec.check_options(encoder, **options_of(args))
    return encoder


def options_of(args):
    """The options that `codec.compress` has too."""
    names = ("quality", "target_bpp", "target_ssimulacra2", "lossless", "effort")
    return {name: getattr(args, name) for name in names}


def encode(args, source, target, progress=False):
    """Compress an image file to a `.encoded` file.

    Returns the bits per pixel of this, and its score of SSIMULACRA2 if that is a target, else None.
    """
    from pictures import picture, reading

    with cli.about(source):
        file = io.BytesIO(cli.read(source)) if cli.is_stream(source) else None
        image = reading.read(source, file, args.tolerant)
        if args.strip:
            image = picture.stripped(image, keep_hidden=args.lossless)
    encoder = model(args)
    began = time.perf_counter()
    with cli.about(source):
        data, score = compress(image, encoder, args, progress)
    seconds = time.perf_counter() - began
    with cli.about(target):
        cli.write(target, data)
    bpp = 8 * len(data) / (image.width * image.height)
    tell_what_is_missed(data, bpp, score, args)
    if progress:
        its_score = "" if score is None else f"SSIMULACRA2 {score:.2f}, "
        cli.tell(f"{target}: {len(data)} bytes, {bpp:.4f} bpp, {its_score}{seconds:.2f} s", target)
    return bpp, score


def compress(image, encoder, args, progress):
    """The bytes of a file, and their score of SSIMULACRA2 if that is a target, else None."""
    import codec

    if args.target_ssimulacra2 is None:
        return codec.compress(image, encoder, **options_of(args), progress=progress), None
    target, effort = args.target_ssimulacra2, args.effort
    return codec.compress_to_score(image, encoder, target, effort=effort, progress=progress)


def tell_what_is_missed(data, bpp, score, args):
    """Log which target the file `data` misses by far, and why."""
    if args.target_bpp is not None and abs(bpp / args.target_bpp - 1) > 0.1:
        reason = what_is_large(data, args) or why_missed(data, args)
        logger.warning("%.4f bpp instead of %g: %s", bpp, args.target_bpp, reason)
    if score is not None and abs(score - args.target_ssimulacra2) > 1:
        reason = why_missed(data, args)
        logger.warning("SSIMULACRA2 of %.2f instead of %g: %s", score, args.target_ssimulacra2, reason)


def what_is_large(data, args):
    """What takes half of the bits per pixel that were asked for besides colours, in some words, or none."""
    header = container.describe(data)
    largest = max(("alpha", "icc", "exif", "xmp"), key=lambda name: header[f"{name}_bytes"])
    its_bpp = 8 * header[f"{largest}_bytes"] / (header["width"] * header["height"])
    return f"its {largest} alone takes {its_bpp:.4f}" if its_bpp > args.target_bpp / 2 else ""


def why_missed(data, args):
    """Why the quality of the file `data` is not that of the target, in some words."""
    encoded = container.unpack(data)
    numbers, number = encoded.setting.mode.numbers, encoded.setting.number
    if not encoded.payload:
        return "it keeps all pixels exactly"
    if number in (numbers[0], numbers[-1]):
        return f"the quality is the {'lowest' if number == numbers[0] else 'highest'} there is"
    return "the search moved it" if args.effort else "no quality was found that is nearer to it"


def is_image(path):
    """Whether a file of a folder or a pattern is taken."""
    from pictures import reading

    return path.lower().endswith(reading.EXTENSIONS)


def encoded(name):
    """The name of the file that an image becomes."""
    return f"{name}.encoded"


def main():
    args = parse_args()
    if batch.is_many(args.input_path):
        model(args)  # which must be there before anything is begun
        jobs, others = batch.plan(args.input_path, args.output_path, is_image, encoded)
        batch.run(jobs, others, functools.partial(encode, args), args)
    else:
        target = batch.target_of_one(args.input_path, args.output_path, encoded)
        with cli.warning_of(args.input_path):
            encode(args, args.input_path, target, progress=not args.quiet)


if __name__ == "__main__":
    cli.run(main)
