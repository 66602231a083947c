"""Measure the codec on folders of images: real files, decoded again, beside other codecs at the same number of bytes.

    python3 evaluate.py resources/test_images
    python3 evaluate.py kodak/ --modes hard soft --effort 0 200 --csv kodak.csv
    python3 evaluate.py kodak/ --modes variable --qualities 1 3 5 7 9 --against JPEG WebP AVIF

Prints the means of each mode and setting; --csv keeps a row for each image.
"""
import argparse
import os
import sys
import tempfile
import time

import bitstream
import cli

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, and folders of them")
    parser.add_argument("--modes", nargs="+", choices=bitstream.MODES, default=list(bitstream.MODES),
                        help="modes to measure (default: all)")
    parser.add_argument("--effort", nargs="+", type=int, default=[0], metavar="N",
                        help="steps of refinement, each measured in turn (default: 0)")
    parser.add_argument("--qualities", nargs="+", type=float, default=[1, 3, 5, 7, 9], metavar="Q",
                        help="of variable mode, each measured in turn (default: 1 3 5 7 9)")
    parser.add_argument("--against", nargs="+", choices=("JPEG", "WebP", "AVIF"), default=["JPEG"],
                        help="codecs to show at the same number of bytes (default: JPEG)")
    parser.add_argument("--csv", metavar="PATH", help="write a row for each image, mode and effort here")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="where the networks run (default: auto, a GPU if there is one)")
    args = parser.parse_args()
    if min(args.effort) < 0:
        parser.error("--effort must not be negative")
    if not all(1 <= quality <= 10 for quality in args.qualities):
        parser.error("--qualities must be from 1 to 10")
    return args


def find_images(paths):
    """Files named in `paths`, and the images in its folders, in the order of their names."""
    files = []
    for path in paths:
        if os.path.isdir(path):
            files += [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.lower().endswith(EXTENSIONS)]
        else:
            files.append(path)
    if not files:
        raise cli.UserError(f"{', '.join(paths)}: no images there")
    return files


def measure(path, encoder, decoder, quality, effort, against, folder):
    """One row of the table as a dict of strings and numbers; quality: None but in variable mode; files go to `folder`."""
    import codec
    import compare
    import picture
    image = picture.read(path)
    encoded_path, decoded_path = os.path.join(folder, "image.encoded"), os.path.join(folder, "image.png")
    began = time.perf_counter()
    data = codec.compress(image, encoder, decoder, effort, quality)
    encoded = time.perf_counter()
    decoded_image = codec.decompress(data, decoder)
    decoded = time.perf_counter()
    with open(encoded_path, "wb") as file:
        file.write(data)
    decoded_image.save(decoded_path)
    row = compare.measure(path, encoded_path, decoded_path, against)
    return {"image": row.pop("image"), "mode": row.pop("mode"),
            "quality": "-" if quality is None else f"{quality:g}", "effort": effort, **row,
            "encode s": f"{encoded - began:.2f}", "decode s": f"{decoded - encoded:.2f}"}


def means(rows):
    """One row for each mode, quality and effort among `rows`, the mean of their columns; "-" where one has no number."""
    groups = {}
    for row in rows:
        groups.setdefault((row["mode"], row["quality"], row["effort"]), []).append(row)
    table = []
    for (mode, quality, effort), group in groups.items():
        mean = {"mode": mode, "quality": quality, "effort": effort, "images": len(group)}
        for column in list(group[0])[4:]:
            digits = {"bytes": 0, "bpp": 4, "encode s": 1}.get(column, 2)
            values = [row[column] for row in group]
            mean[column] = "-" if "-" in values else f"{sum(map(float, values)) / len(values):.{digits}f}"
        table.append(mean)
    return table


def main():
    args = parse_args()
    from tqdm import tqdm
    import compare
    import model
    import quantize

    settings = {mode: [(quality, effort) for quality in (args.qualities if mode == "variable" else [None])
                       for effort in args.effort] for mode in args.modes}
    files, device, rows = find_images(args.images), cli.pick_device(args.device), []
    with tempfile.TemporaryDirectory() as folder, \
            tqdm(total=len(files) * sum(map(len, settings.values())), unit="image", disable=None) as bar:
        for mode in args.modes:
            pair = [model.load(cli.shipped_model(mode, kind), kind, device) for kind in ("encoder", "decoder")]
            for quality, effort in settings[mode]:
                for path in files:
                    try:
                        rows.append(measure(path, *pair, quality, effort, args.against, folder))
                    except (OSError, ValueError) as error:
                        tqdm.write(f"left out: {error}", file=sys.stderr)
                    bar.update()
    if not rows:
        raise cli.UserError("none of the images could be measured")
    compare.show(means(rows))
    if args.csv:
        compare.write_csv(rows, args.csv)


if __name__ == "__main__":
    cli.run(main)
