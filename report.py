"""The page of `evaluate.py --report`: results and pictures in one file that needs no network, from `report.html`.

JPEG, WebP and AVIF are in it as the very files that were measured; the original and ours, which browsers cannot
read, as lossless WebP.
"""

import base64
import json
import os

import charts
import cli
import results

TEMPLATE = os.path.join(cli.HERE, "report.html")
READ_BY_BROWSERS = {"JPEG": "image/jpeg", "WebP": "image/webp", "AVIF": "image/avif"}


def write(found, measured, folder):
    """Write index.html to `folder`: results, see `results.py`, and the pictures in each measure.Measured."""
    with open(TEMPLATE, encoding="utf-8") as file:
        template = file.read()
    # In a script element only "</" could end the data early.
    data = json.dumps(_data(found, measured), separators=(",", ":")).replace("</", "<\\/")
    with (
        cli.replacing(os.path.join(folder, "index.html")) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        file.write(template.replace("/*DATA*/", data))


def _data(found, measured):
    codecs, names = results.codecs(found), [None] + [image["name"] for image in found["images"]]
    known = [metric for metric in charts.METRICS if any(row[metric] is not None for row in found["rows"])]
    return {
        "images": [_image(found, one) for one in measured],
        "ours": found["ours"],
        "rows": results.finite(found["rows"]),
        "bd_rate": found["bd_rate"],
        "published": charts.published(found),
        "colours": {codec: charts.colour(found, codec) for codec in codecs},
        "curves": {
            metric: {
                name or "mean": {codec: results.curve(found, codec, name, metric) for codec in codecs}
                for name in names
            }
            for metric in known
        },
    }


def _image(found, one):
    kinds = dict.fromkeys(found["ours"], "image/webp") | READ_BY_BROWSERS
    return {
        "name": one.name,
        "width": one.width,
        "height": one.height,
        "original": _uri("image/webp", one.original),
        "thumbnail": _uri("image/webp", one.thumbnail),
        "shown": [
            {
                "setting": level["setting"],
                "bits": level["bits"].round().astype(int).tolist(),
                "files": {
                    codec: _uri(kinds[codec], data)
                    for codec, data in level["files"].items()
                    if codec in kinds
                },
            }
            for level in one.shown
        ],
    }


def _uri(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
