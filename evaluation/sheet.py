"""A sheet of crops to look at: the original, ours of each tune, and AVIF tuned for the eye, at equal bytes.

    python3 -m evaluation.sheet sheet.png lena.png:170,180 baboon.png:0,200 --quality 2

Each crop, of SIDE pixels from the corner X,Y of an image on, has a row at 100 %, and one of its middle at
200 %. All files are nearest in bytes to that of ours for PSNR at the quality that is asked for.
"""

import argparse
import functools

from PIL import Image

import cli
import codec
from coding.files import replacing
from coding.modes import TUNES
from engines import pair, shipped
from evaluation import metrics, panels, rivals
from pictures import picture, reading

SIDE = 320


def parse_args():
    """The options, with `crops`: paths, and the two numbers of a corner."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="sheet.py", description=__doc__, formatter_class=formatter)
    parser.add_argument("output", metavar="PNG", help="the sheet to write")
    parser.add_argument("crops", nargs="+", type=_crop, metavar="IMAGE:X,Y", help="what is shown")
    parser.add_argument("--quality", type=float, default=3, metavar="Q", help="1 to 10 (default: 3)")
    args = parser.parse_args()
    if not 1 <= args.quality <= 10:
        parser.error("--quality must be from 1 to 10")
    return args


def _crop(text):
    path, _, corner = text.rpartition(":")
    x, y = map(int, corner.split(","))
    return path, (x, y)


@functools.cache
def _encoder(tune):
    return pair.Encoder.load(shipped.path("variable", "encoder", tune))


@functools.cache
def _avif():
    try:
        return rivals.load("avif")
    except metrics.Missing as error:
        raise cli.UserError(f"a sheet needs AVIF: {error}") from error


def pictures_of(image: Image.Image, quality: float) -> dict[str, Image.Image]:
    """The original and what each codec makes of it at the same bytes, by a line that says what it is."""
    encoders = {tune: _encoder(tune) for tune in TUNES}
    files = {TUNES[0]: codec.compress(image, encoders[TUNES[0]], quality=quality)}
    bpp = 8 * len(files[TUNES[0]]) / (image.width * image.height)
    for tune in TUNES[1:]:
        files[tune] = codec.compress(image, encoders[tune], target_bpp=bpp)
    found = {"original": image}
    for tune, data in files.items():
        decoded = codec.decompress(data, encoders[tune].decoder)
        found[_line(f"tune={tune}", data, decoded, image)] = decoded
    rival = rivals.Rival(_avif(), image)
    data = rival.nearest(len(files[TUNES[0]])).data
    decoded = rival.decode(data)
    return found | {_line(rival.codec.name, data, decoded, image): decoded}


def _line(name, data, decoded, original):
    score = metrics.measure("SSIMULACRA2", decoded, original)
    score = "-" if score is None else f"{score:.1f}"
    return f"{name}: {len(data)} B, {metrics.psnr(decoded, original):.2f} dB, {score}"


def rows(path: str, corner: tuple[int, int], quality: float) -> list[dict[str, Image.Image]]:
    """The two rows of a crop."""
    image = picture.pixels(reading.read(path)).convert("RGB")
    x, y = corner
    boxes = ((x, y, SIDE, SIDE), 1), ((x + SIDE // 4, y + SIDE // 4, SIDE // 2, SIDE // 2), 2)
    shown = pictures_of(image, quality)
    return [
        {f"{100 * times} %, {line}": panels.enlarged(one, box, times) for line, one in shown.items()}
        for box, times in boxes
    ]


def main():
    args = parse_args()
    every = [row for path, corner in args.crops for row in rows(path, corner, args.quality)]
    with replacing(args.output) as temporary:
        panels.lay_out(every).save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    cli.run(main)
