"""A table of files that were encoded and decoded, beside JPEG at the same number of bytes.

python3 -m evaluation.compare original.png photo.encoded decoded.png
python3 -m evaluation.compare a.png a.encoded a_out.png b.png b.encoded b_out.png --csv table.csv
python3 -m evaluation.compare original.png photo.encoded decoded.png --picture crop.png --crop 0 0 96 96
"""

import argparse
import dataclasses
import os

from PIL import Image

import cli
from coding import container
from coding.files import replacing
from evaluation import metrics, panels, results, rivals, tables
from pictures import picture, reading


@dataclasses.dataclass(frozen=True)
class Files:
    """Paths of an original, of its `.encoded` file and of the decoded picture."""

    original: str
    encoded: str
    decoded: str


def parse_args():
    """The options, with `threes`: a Files for each three of the files."""
    parser = argparse.ArgumentParser(
        prog="compare.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="original, .encoded and decoded file, in turn")
    add("--seconds", nargs="+", type=float, metavar="S", help="a time for each three files to show")
    add("--csv", metavar="PATH", help="write the table here too")
    add(
        "--picture",
        metavar="PATH",
        help="write the original, JPEG and ours side by side, a row for each three files",
    )
    add(
        "--crop",
        nargs=4,
        type=int,
        metavar=("X", "Y", "W", "H"),
        default=(200, 200, 160, 160),
        help="part of the image that --picture shows, twice enlarged (default: 200 200 160 160)",
    )
    args = parser.parse_args()
    if len(args.files) % 3:
        parser.error("files come in threes: original, .encoded, decoded")
    args.threes = [Files(*args.files[first : first + 3]) for first in range(0, len(args.files), 3)]
    if args.seconds and len(args.seconds) != len(args.threes):
        parser.error("--seconds needs a number for each three files")
    return args


def measure(files: Files) -> dict:
    """One row of the table, with JPEG at the same size; sizes are those of the files on disk."""
    with open(files.encoded, "rb") as file:
        header = container.unpack(file.read())
    size = os.path.getsize(files.encoded)
    decoded = picture.pixels(reading.read(files.decoded))
    original = picture.pixels(reading.read(files.original)).convert(decoded.mode)
    jpeg = rivals.Rival(rivals.CODECS["jpeg"], original).psnr_at(size)
    return {
        "image": os.path.basename(files.original),
        "mode": header.setting.mode.name,
        "bytes": size,
        "bpp": f"{8 * size / (header.metadata.width * header.metadata.height):.4f}",
        "PSNR": f"{metrics.psnr(decoded, original):.2f}",
        "JPEG PSNR": "-" if jpeg is None else f"{jpeg:.2f}",
    }


def draw(threes: list[Files], box: tuple[int, int, int, int]) -> Image.Image:
    """A picture with a row for each three files: the crop of the original, of JPEG and of ours, named.

    threes: what is shown
    box: left, top, width and height of the crop in pixels
    """
    rows = [pictures_of(files) for files in threes]
    return panels.lay_out(
        [{line: panels.enlarged(image, box, 2) for line, image in row.items()} for row in rows]
    )


def pictures_of(files: Files) -> dict[str, Image.Image]:
    """The original, JPEG at the bytes of ours, and ours, RGB, by what is written above them."""
    original = picture.pixels(reading.read(files.original)).convert("RGB")
    decoded = picture.pixels(reading.read(files.decoded)).convert("RGB")
    size = os.path.getsize(files.encoded)
    rival = rivals.Rival(rivals.CODECS["jpeg"], original)
    jpeg = rival.nearest(size)
    return {
        "original": original,
        f"JPEG, {len(jpeg.data)} bytes, {jpeg.psnr:.2f} dB": rival.decode(jpeg.data),
        f"ours, {size} bytes, {metrics.psnr(decoded, original):.2f} dB": decoded,
    }


def main():
    args = parse_args()
    rows = [measure(files) for files in args.threes]
    for row, seconds in zip(rows, args.seconds or []):
        row["seconds"] = f"{seconds:.1f}"

    tables.show(rows)
    if args.csv:
        results.write_csv(rows, args.csv)
    if args.picture:
        with replacing(args.picture) as temporary:
            draw(args.threes, args.crop).save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    cli.run(main)
