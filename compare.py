"""A table of files that were encoded and decoded, beside JPEG at the same number of bytes.

python3 compare.py original.png photo.encoded decoded.png
python3 compare.py a.png a.encoded a_out.png b.png b.encoded b_out.png --csv table.csv
python3 compare.py original.png photo.encoded decoded.png --picture crop.png --crop 200 200 160 160
"""

import argparse
import os

import cli
import results
import tables


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="original, .encoded and decoded file, in turn"
    )
    parser.add_argument(
        "--seconds", nargs="+", type=float, metavar="S", help="a time for each three files to show"
    )
    parser.add_argument("--csv", metavar="PATH", help="write the table here too")
    parser.add_argument(
        "--picture",
        metavar="PATH",
        help="write the original, JPEG and ours side by side, one row for each three files",
    )
    parser.add_argument(
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
    args.threes = list(zip(*[iter(args.files)] * 3))
    if args.seconds and len(args.seconds) != len(args.threes):
        parser.error("--seconds needs a number for each three files")
    return args


def measure(original_path, encoded_path, decoded_path):
    """One row of the table as a dict, with JPEG at the same size; sizes are those of the files on disk."""
    import bitstream
    import metrics
    import picture
    import rivals

    with open(encoded_path, "rb") as file:
        header = bitstream.unpack(file.read())
    size = os.path.getsize(encoded_path)
    decoded = picture.pixels(picture.read(decoded_path))
    original = picture.pixels(picture.read(original_path)).convert(decoded.mode)
    jpeg = rivals.Rival(rivals.CODECS["jpeg"], original).psnr_at(size)
    return {
        "image": os.path.basename(original_path),
        "mode": header.quantize_mode,
        "bytes": size,
        "bpp": f"{8 * size / (header.width * header.height):.4f}",
        "PSNR": f"{metrics.psnr(decoded, original):.2f}",
        "JPEG PSNR": "-" if jpeg is None else f"{jpeg:.2f}",
    }


def draw(threes, box):
    """Pillow image with a row for each three files: the crop of the original, of JPEG and of ours, named."""
    from PIL import Image, ImageDraw, ImageFont
    import metrics
    import picture
    import rivals

    x, y, width, height = box
    canvas = Image.new("RGB", (6 * width + 40, (2 * height + 30) * len(threes)), "white")
    draw_on, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    for row, (original_path, encoded_path, decoded_path) in enumerate(threes):
        original, decoded = (
            picture.pixels(picture.read(path)).convert("RGB") for path in (original_path, decoded_path)
        )
        size = os.path.getsize(encoded_path)
        rival = rivals.Rival(rivals.CODECS["jpeg"], original)
        jpeg = rival.nearest(size)
        shown = {
            "original": original,
            f"JPEG, {len(jpeg.data)} bytes, {jpeg.psnr:.2f} dB": rival.decode(jpeg.data),
            f"ours, {size} bytes, {metrics.psnr(decoded, original):.2f} dB": decoded,
        }
        for column, (name, image) in enumerate(shown.items()):
            corner = (column * (2 * width + 20), row * (2 * height + 30))
            crop = image.crop((x, y, x + width, y + height)).resize((2 * width, 2 * height), Image.NEAREST)
            draw_on.text((corner[0] + 4, corner[1] + 4), name, "black", font)
            canvas.paste(crop, (corner[0], corner[1] + 26))
    return canvas


def main():
    args = parse_args()
    rows = [measure(*three) for three in args.threes]
    for row, seconds in zip(rows, args.seconds or []):
        row["seconds"] = f"{seconds:.1f}"

    tables.show(rows)
    if args.csv:
        results.write_csv(rows, args.csv)
    if args.picture:
        with cli.replacing(args.picture) as temporary:
            draw(args.threes, args.crop).save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    cli.run(main)
