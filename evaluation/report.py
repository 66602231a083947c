"""The page of `evaluate.py --report`, from `report.html`: results and pictures in a single file.

JPEG, WebP and AVIF are in it as the very files that were measured; the original, ours and what else browsers
cannot read as lossless WebP.
"""

from evaluation import charts, pages, results


def write(found: dict, measured: list, folder: str):
    """Write index.html.

    found: results, see `results.py`
    measured: measure.Measured of each image, with its pictures
    folder: where to
    """
    pages.write("report.html", _data(found, measured), folder)


def _data(found, measured):
    metrics = results.known_metrics(found)
    return {
        "images": [_image(found, one) for one in measured],
        "ours": found["ours"],
        "rows": results.finite(found["rows"]),
        "bd_rate": results.over_all(found),
        "published": {metric: charts.published_curves(found, metric) for metric in metrics},
        "colours": {codec: charts.colour(found, codec) for codec in results.codecs(found)},
        "curves": {metric: _curves(found, metric) for metric in metrics},
        "axes": charts.METRICS,
        "lowest": charts.LOWEST,
    }


def _curves(found, metric):
    """The curves of each image, and "mean", by the name of the codec."""
    curves = {}
    for name in [None] + [image["name"] for image in found["images"]]:
        of_image = {codec: results.curve(found, codec, name, metric) for codec in results.codecs(found)}
        curves[name or "mean"] = of_image
    return curves


def _image(found, one):
    shown = [
        {
            "setting": trial.label,
            "bits": trial.bits.round().astype(int).tolist(),
            "files": {codec: pages.picture(data) for codec, data in trial.files.items()},
        }
        for trial in one.shown
    ]
    return {
        "name": one.name,
        "width": one.width,
        "height": one.height,
        "original": pages.uri("image/webp", one.original),
        "thumbnail": pages.uri("image/webp", one.thumbnail),
        "shown": shown,
    }
