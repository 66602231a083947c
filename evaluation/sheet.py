"""A sheet of crops to look at: the original, ours, AVIF tuned for the eye and JPEG XL, at equal bytes.

    python3 -m evaluation.sheet sheet.png lena.png:170,180 baboon.png:0,200 --scores 50 65 75 85

Each crop, of SIDE pixels from the corner X,Y of an image on, has two rows for each score, at 100 % and of its
middle at 200 %. Ours is the default tune's file nearest to the score of SSIMULACRA2, which the whole image
has; the others are nearest to it in bytes.
"""

import argparse
import functools

from PIL import Image

import cli
import codec
from coding.files import replacing
from engines import pair, shipped
from evaluation import metrics, panels, rivals
from pictures import picture, reading

RIVALS = ("avif", "jxl")
SIDE = 320


def parse_args():
    """The options, with `crops`: paths, and the two numbers of a corner."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="sheet.py", description=__doc__, formatter_class=formatter)
    parser.add_argument("output", metavar="PNG", help="the sheet to write")
    parser.add_argument("crops", nargs="+", type=_crop, metavar="IMAGE:X,Y", help="what is shown")
    text = "of SSIMULACRA2 (default: 50 65 75 85)"
    scores = [50.0, 65.0, 75.0, 85.0]
    parser.add_argument("--scores", nargs="+", type=float, default=scores, metavar="S", help=text)
    args = parser.parse_args()
    if not all(0 <= score <= 100 for score in args.scores):
        parser.error("--scores must be from 0 to 100")
    return args


def _crop(text):
    path, _, corner = text.rpartition(":")
    x, y = map(int, corner.split(","))
    return path, (x, y)


@functools.cache
def _encoder():
    return pair.Encoder.load(shipped.path("variable", "encoder"))


@functools.cache
def _codec_of(name):
    try:
        return rivals.load(name)
    except metrics.Missing as error:
        raise cli.UserError(f"a sheet needs {rivals.CODECS[name].name}: {error}") from error


def pictures_of(others: list[rivals.Rival], score: float) -> dict[str, Image.Image]:
    """The original, ours at a score, and what the others make of it at the same bytes, by a line of words."""
    image = others[0].image
    data, _ = codec.compress_to_score(image, _encoder(), score)
    decoded = codec.decompress(data, _encoder().decoder)
    found = {"original": image, _line("ours", data, decoded, image): decoded}
    for rival in others:
        file = rival.nearest(len(data))
        decoded = rival.decode(file.data)
        found[_line(rival.codec.name, file.data, decoded, image)] = decoded
    return found


def _line(name, data, decoded, original):
    score = metrics.measure("SSIMULACRA2", decoded, original)
    return f"{name}: {len(data)} B, {metrics.psnr(decoded, original):.2f} dB, {score:.1f}"


def rows(path: str, corner: tuple[int, int], scores: list[float]) -> list[dict[str, Image.Image]]:
    """The two rows of a crop for each of the scores."""
    image = picture.pixels(reading.read(path)).convert("RGB")
    others = [rivals.Rival(_codec_of(name), image) for name in RIVALS]
    x, y = corner
    boxes = ((x, y, SIDE, SIDE), 1), ((x + SIDE // 4, y + SIDE // 4, SIDE // 2, SIDE // 2), 2)
    return [
        {f"{100 * times} %, {line}": panels.enlarged(one, box, times) for line, one in shown.items()}
        for shown in (pictures_of(others, score) for score in scores)
        for box, times in boxes
    ]


def main():
    args = parse_args()
    every = [row for path, corner in args.crops for row in rows(path, corner, args.scores)]
    with replacing(args.output) as temporary:
        panels.lay_out(every).save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    cli.run(main)
