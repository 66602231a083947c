"""The results of `evaluate.py`: rows as they are measured, written and read, and what is computed from them.

A row is a dict with a file's image, codec, setting, bytes, bpp, PSNR in dB, MS-SSIM, SSIMULACRA2, Butteraugli
and LPIPS (None where they are not known), "encode s" and "decode s". Rows of ours also have PSNR and
SSIMULACRA2 of other codecs at the same bytes, from their curves; rows of files that were made to be as large
as one of ours, to be shown, name it in "same bytes as".
"""

import csv
import json
import math
import os

from coding.errors import UserError
from coding.files import replacing
from evaluation import metrics, versions

AT_SAME_BYTES = {"PSNR": 4, "SSIMULACRA2": 4}  # what rows of ours have of other codecs, and its digits
# Parts of a metric that have BD-rates of their own, from coarse to fine: where people work.
RANGES = {
    "SSIMULACRA2": ((30, 50), (50, 65), (65, 75), (75, 85)),
    "Butteraugli": ((2.0, 1.4), (1.4, 1.0), (1.0, 0.7)),
}


def collect(measured: list, trials: list, known: dict | None = None) -> dict:
    """The results, for JSON.

    measured: measure.Measured of each image
    trials: measure.Trial of each of ours
    known: results whose rows of the other codecs are taken over

    Returns a dict of images (name, width, height), ours (names of codecs), versions, rows and bd_rate. Raises
    UserError where one of the images is not among those of `known`.
    """
    results = {
        "images": [{"name": one.name, "width": one.width, "height": one.height} for one in measured],
        "ours": list(dict.fromkeys(trial.codec for trial in trials)),
        "versions": known["versions"] if known else versions.of(versions.ENCODERS),
        "rows": [row for one in measured for row in one.rows],
    }
    if known:
        results["rows"] = _of_others(known, results["images"]) + results["rows"]
    _add_values_at_same_bytes(results)
    return results | {"bd_rate": bd_rates(results)}


def _of_others(known, images):
    """The rows of other codecs' own settings for the images; raises UserError where one is not known."""
    for image in images:
        if image not in known["images"]:
            raise UserError(f"{image['name']}: the results that are to be taken over do not have it")
    names = {image["name"] for image in images}
    return [
        row
        for row in known["rows"]
        if row["codec"] not in known["ours"] and row["same bytes as"] is None and row["image"] in names
    ]


def _add_values_at_same_bytes(results):
    """Give rows of ours AT_SAME_BYTES of the other codecs, each at its best by that metric, or None."""
    ours = [row for row in results["rows"] if row["codec"] in results["ours"]]
    others = [codec for codec in codecs(results) if codec not in results["ours"]]
    for image in {row["image"] for row in ours}:
        for codec in others:
            for metric, digits in AT_SAME_BYTES.items():
                its_curve = curve(results, codec, image, metric)
                for row in ours:
                    if row["image"] == image:
                        value = metrics.quality_at(its_curve, row["bpp"])
                        row[f"{codec} {metric}"] = None if value is None else round(value, digits)


def codecs(results: dict) -> list[str]:
    """Names of the codecs in the results: the others, then ours."""
    names = list(dict.fromkeys(row["codec"] for row in results["rows"]))
    others = [name for name in names if name not in results["ours"]]
    return others + [name for name in results["ours"] if name in names]


def known_metrics(results: dict) -> list[str]:
    """Those metrics of metrics.SCALES that are known of some row."""
    return [
        metric for metric in metrics.SCALES if any(row.get(metric) is not None for row in results["rows"])
    ]


def points(results: dict, codec: str, image: str | None = None) -> list[dict]:
    """Rows of a codec's own settings for one image, or dicts of their means over the images."""
    rows = [row for row in results["rows"] if row["codec"] == codec and row["same bytes as"] is None]
    if image is not None:
        return [row for row in rows if row["image"] == image]
    groups = {}
    for row in rows:
        groups.setdefault(row["setting"], []).append(row)
    means = []
    for setting, group in groups.items():
        if len(group) == len(results["images"]):
            numbers = {key: mean([row[key] for row in group]) for key in ("bpp", *known_metrics(results))}
            means.append({"setting": setting} | numbers)
    return means


def curve(
    results: dict, codec: str, image: str | None = None, metric: str = "PSNR"
) -> list[tuple[float, float]]:
    """A codec's curve: its points that no other of them, and no line between two, is above.

    results: see `collect`
    codec: its name
    image: its name, or None for the means
    metric: one of metrics.SCALES

    Returns (bpp, quality on that scale), both rising. So a codec that was measured in several ways is shown
    at its best by that metric.
    """
    known = []
    for point in points(results, codec, image):
        if point.get(metric) is not None:
            quality = metrics.SCALES[metric](point[metric])
            if math.isfinite(quality):
                known.append((point["bpp"], quality))
    hull = []
    for point in sorted(known):
        if hull and point[1] <= max(quality for _, quality in hull):
            continue
        while hull and _is_below(hull, point):
            hull.pop()
        hull.append(point)
    return hull


def _is_below(hull, point):
    """Whether the last point of a hull is below a better one, or the line to that from the last but one."""
    if hull[-1][0] == point[0]:
        return True
    return len(hull) > 1 and _slope(hull[-2], point) >= _slope(hull[-2], hull[-1])


def _slope(a, b):
    return (b[1] - a[1]) / (b[0] - a[0])


def bd_rates(results: dict) -> list[dict]:
    """BD-rates in percent of our codecs against all others, and against those of ours before them.

    Returns a dict for each metric, each of its RANGES and all of it, and each pair of codecs: metric, "from"
    and "to" (None for all), codec, against, "images" (by name, None where the curves are too short, or cover
    less than half of the range together), "mean" of those that have one, and "mean curve", between the curves
    of the means. See `metrics.bd_rate`.
    """
    table = []
    for metric in known_metrics(results):
        curves = _curves(results, metric)
        for low, high in (*RANGES.get(metric, ()), (None, None)):
            between = None if low is None else tuple(map(metrics.SCALES[metric], (low, high)))
            for ours, other in _pairs(results):
                images, whole = _percents(curves[other], curves[ours], between)
                known = [percent for percent in images.values() if percent is not None]
                if known:
                    names = {"metric": metric, "from": low, "to": high, "codec": ours, "against": other}
                    table.append(names | {"mean": mean(known), "mean curve": whole, "images": images})
    return table


def _curves(results, metric):
    """The curves of each codec by the name of the image, and None for that of the means."""
    images = [*(image["name"] for image in results["images"]), None]
    return {
        codec: {image: curve(results, codec, image, metric) for image in images} for codec in codecs(results)
    }


def _percents(anchor, test, between):
    """BD-rate of each image by its name, or None; and that of the means. The first two are of `_curves`."""
    percents = {image: metrics.bd_rate(anchor[image], test[image], between) for image in test}
    whole = percents.pop(None)
    return percents, whole


def _pairs(results):
    """Each codec of ours with each that it is compared with."""
    names = codecs(results)
    return [
        (ours, other) for ours in results["ours"] if ours in names for other in names[: names.index(ours)]
    ]


def over_all(results: dict) -> list[dict]:
    """The BD-rates among the results that are over all of a metric."""
    return [pair for pair in results["bd_rate"] if pair.get("from") is None]


def count(pair: dict) -> int:
    """How many images have a part in the mean of one of the BD-rates."""
    return sum(percent is not None for percent in pair["images"].values())


def mean(values: list) -> float | None:
    """The mean, or None where one is not known."""
    return None if None in values else sum(values) / len(values)


def write(results: dict, folder: str):
    """Write results.json, results.csv and, without those of each image, bd_rates.csv to `folder`."""
    with (
        replacing(os.path.join(folder, "results.json")) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        # A row a line, as people and diffs read it.
        rows = ",\n".join(json.dumps(row) for row in finite(results["rows"]))
        rest = json.dumps({key: value for key, value in results.items() if key != "rows"}, indent=1)
        file.write(f'{rest[:-2]},\n "rows": [\n{rows}\n]}}\n')
    write_csv(results["rows"], os.path.join(folder, "results.csv"))
    write_csv([_counted(pair) for pair in results["bd_rate"]], os.path.join(folder, "bd_rates.csv"))


def _counted(pair):
    """A BD-rate in two digits, with how many images have a part in it and how many have not."""
    known = count(pair)
    digits = {name: None if pair[name] is None else round(pair[name], 2) for name in ("mean", "mean curve")}
    return pair | digits | {"images": known, "left out": len(pair["images"]) - known}


def finite(rows: list[dict]) -> list[dict]:
    """Rows with "inf" for infinity, which JSON has no number for."""
    return [{key: "inf" if value == math.inf else value for key, value in row.items()} for row in rows]


def read(folder: str) -> dict:
    """The results that `write` wrote to `folder`."""
    with open(os.path.join(folder, "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    for row in results["rows"]:
        row.update({key: math.inf for key, value in row.items() if value == "inf"})
    return results


def write_csv(rows: list[dict], path: str):
    """Write dicts to the file `path`, a column for each key."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
