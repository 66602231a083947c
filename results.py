"""The results of `evaluate.py`: rows as they are measured, written and read, and what is computed from them.

A row is a dict with a file's image, codec, setting, bytes, bpp, PSNR in dB, MS-SSIM, LPIPS (None where they are not
known), "encode s" and "decode s"; rows of ours also have the PSNR of other codecs at the same bytes, by
interpolation; rows of files that were made to be as large as one of ours name it in "same bytes as".
"""

import csv
import json
import math
import os

import cli
import metrics


def collect(measured, settings):
    """The results, a dict for JSON, of the measure.Measured of all images: images, ours (names of codecs), rows, bd_rate."""
    results = {
        "images": [{"name": m.name, "width": m.width, "height": m.height} for m in measured],
        "ours": list(dict.fromkeys(setting.codec for setting in settings)),
        "rows": [row for m in measured for row in m.rows],
    }
    return results | {"bd_rate": bd_rates(results)}


def codecs(results):
    """Names of the codecs in the results: the others, then ours."""
    names = list(dict.fromkeys(row["codec"] for row in results["rows"]))
    return [name for name in names if name not in results["ours"]] + [
        name for name in results["ours"] if name in names
    ]


def points(results, codec, image=None):
    """Rows of a codec's own settings for one image, or dicts of their means over the images."""
    rows = [row for row in results["rows"] if row["codec"] == codec and row["same bytes as"] is None]
    if image is not None:
        return [row for row in rows if row["image"] == image]
    groups = {}
    for row in rows:
        groups.setdefault(row["setting"], []).append(row)
    return [
        {"setting": setting, **{key: mean([row[key] for row in group]) for key in ("bpp", "PSNR", "MS-SSIM")}}
        for setting, group in groups.items()
        if len(group) == len(results["images"])
    ]


def curve(results, codec, image=None, metric="PSNR"):
    """A codec's curve, (bpp, quality) both rising: its points that no other of them, and no line between two, is above.

    So a codec that was measured in several ways is shown at its best.
    """
    known = [
        (p["bpp"], p[metric])
        for p in points(results, codec, image)
        if p[metric] is not None and math.isfinite(p[metric])
    ]
    hull = []
    for bpp, value in sorted(known):
        if hull and value <= max(other for _, other in hull):
            continue
        while hull and (
            hull[-1][0] == bpp or len(hull) > 1 and _slope(hull[-2], (bpp, value)) >= _slope(*hull[-2:])
        ):
            hull.pop()
        hull.append((bpp, value))
    return hull


def _slope(a, b):
    return (b[1] - a[1]) / (b[0] - a[0])


def bd_rates(results):
    """BD-rates in percent of our codecs against each other one, by PSNR: a dict for each pair of codecs, with the
    images and the mean of those that have one; None where the curves are too short or too far apart."""
    pairs = [
        (ours, other) for ours in results["ours"] for other in codecs(results) if other not in results["ours"]
    ]
    table = []
    for ours, other in pairs:
        percents = {
            image["name"]: metrics.bd_rate(*(curve(results, codec, image["name"]) for codec in (other, ours)))
            for image in results["images"]
        }
        known = [percent for percent in percents.values() if percent is not None]
        if known:
            table.append({"codec": ours, "against": other, "mean": mean(known), "images": percents})
    return table


def mean(values):
    """The mean, or None where one is not known."""
    return None if None in values else sum(values) / len(values)


def write(results, folder):
    """Write results.json and results.csv to `folder`."""
    with (
        cli.replacing(os.path.join(folder, "results.json")) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        # A row a line, as people and diffs read it.
        rows = ",\n".join(json.dumps(row) for row in finite(results["rows"]))
        rest = json.dumps({key: value for key, value in results.items() if key != "rows"}, indent=1)
        file.write(f'{rest[:-2]},\n "rows": [\n{rows}\n]}}\n')
    write_csv(results["rows"], os.path.join(folder, "results.csv"))


def finite(rows):
    """Rows with "inf" for infinity, which JSON has no number for."""
    return [{key: "inf" if value == math.inf else value for key, value in row.items()} for row in rows]


def read(folder):
    """The results that `write` wrote to `folder`."""
    with open(os.path.join(folder, "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    for row in results["rows"]:
        row.update({key: math.inf for key, value in row.items() if value == "inf"})
    return results


def write_csv(rows, path):
    """Write dicts to the file `path`, a column for each key."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with cli.replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
