"""A table of files that were encoded and decoded, beside JPEG at the same number of bytes.

    python3 compare.py original.png photo.encoded decoded.png
    python3 compare.py a.png a.encoded a_out.png b.png b.encoded b_out.png --csv table.csv
    python3 compare.py original.png photo.encoded decoded.png --picture crop.png --crop 200 200 160 160
"""
import argparse
import csv
import io
import os

import cli


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="original, .encoded and decoded file, in turn")
    parser.add_argument("--seconds", nargs="+", type=float, metavar="S", help="a time for each three files to show")
    parser.add_argument("--csv", metavar="PATH", help="write the table here too")
    parser.add_argument("--picture", metavar="PATH", help="write the original, JPEG and ours side by side, one row "
                        "for each three files")
    parser.add_argument("--crop", nargs=4, type=int, metavar=("X", "Y", "W", "H"), default=(200, 200, 160, 160),
                        help="part of the image that --picture shows, twice enlarged (default: 200 200 160 160)")
    args = parser.parse_args()
    if len(args.files) % 3:
        parser.error("files come in threes: original, .encoded, decoded")
    args.threes = list(zip(*[iter(args.files)] * 3))
    if args.seconds and len(args.seconds) != len(args.threes):
        parser.error("--seconds needs a number for each three files")
    return args


def measure(original_path, encoded_path, decoded_path, against=("JPEG",)):
    """One row of the table as a dict, with the codecs `against` at the same size; sizes are those of the files on disk."""
    from PIL import ImageOps
    import bitstream
    import metrics
    import picture
    with open(encoded_path, "rb") as file:
        header = bitstream.unpack(file.read())
    size = os.path.getsize(encoded_path)
    decoded = picture.read(decoded_path)
    original = ImageOps.exif_transpose(picture.read(original_path)).convert(decoded.mode)
    others = {f"{codec} PSNR": metrics.psnr_at(codec, original, size) for codec in against}
    return {
        "image": os.path.basename(original_path), "mode": header.quantize_mode, "bytes": size,
        "bpp": f"{8 * size / (header.width * header.height):.4f}",
        "PSNR": f"{metrics.psnr(decoded, original):.2f}",
        **{name: "-" if value is None else f"{value:.2f}" for name, value in others.items()},
    }


def draw(threes, box):
    """Pillow image with a row for each three files: the crop of the original, of JPEG and of ours, named."""
    from PIL import Image, ImageDraw, ImageFont
    import metrics
    x, y, width, height = box
    canvas = Image.new("RGB", (6 * width + 40, (2 * height + 30) * len(threes)), "white")
    draw_on, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    for row, (original_path, encoded_path, decoded_path) in enumerate(threes):
        original, size = Image.open(original_path).convert("RGB"), os.path.getsize(encoded_path)
        decoded = Image.open(decoded_path).convert("RGB")
        files = [metrics.jpeg(original, quality, subsampling)
                 for quality in range(1, 96) for subsampling in ("4:2:0", "4:4:4")]
        images = [Image.open(io.BytesIO(file)) for file in files if len(file) <= size] or [original]
        jpeg = max(images, key=lambda image: metrics.psnr(image, original))
        shown = {"original": original,
                 f"JPEG, {metrics.psnr(jpeg, original):.2f} dB": jpeg,
                 f"ours, {size} bytes, {metrics.psnr(decoded, original):.2f} dB": decoded}
        for column, (name, image) in enumerate(shown.items()):
            corner = (column * (2 * width + 20), row * (2 * height + 30))
            crop = image.crop((x, y, x + width, y + height)).resize((2 * width, 2 * height), Image.NEAREST)
            draw_on.text((corner[0] + 4, corner[1] + 4), name, "black", font)
            canvas.paste(crop, (corner[0], corner[1] + 26))
    return canvas


def show(rows):
    """Print dicts of the same keys as a table, names to the left and numbers to the right."""
    widths = {key: max(len(key), *(len(str(row[key])) for row in rows)) for key in rows[0]}
    for line in [dict(zip(widths, widths)), *rows]:
        print("  ".join(str(line[key]).ljust(width) if key in ("image", "mode") else str(line[key]).rjust(width)
                        for key, width in widths.items()))


def write_csv(rows, path):
    """Write dicts of the same keys to the file `path`."""
    with cli.replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def main():
    args = parse_args()
    rows = [measure(*three) for three in args.threes]
    for row, seconds in zip(rows, args.seconds or []):
        row["seconds"] = f"{seconds:.1f}"

    show(rows)
    if args.csv:
        write_csv(rows, args.csv)
    if args.picture:
        with cli.replacing(args.picture) as temporary:
            draw(args.threes, args.crop).save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    cli.run(main)
