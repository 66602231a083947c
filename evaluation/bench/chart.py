"""The results of the bench as a picture: seconds a megapixel and peak memory against size."""

import math
import os

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from coding.files import replacing
from evaluation import charts
from evaluation.bench import codecs, table

COLOURS = charts.COLOURS | {
    "bmshj2018-factorized": "#2563eb",
    "mbt2018-mean": "#1e3a8a",
    "mbt2018": "#111827",
}
MARKERS = {codecs.CompressAI: "^", codecs.Ours: "o", codecs.Pillows: "s"}
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def draw(found: dict) -> Figure:
    """Three panels: encoding, decoding, and the larger of their peaks of memory."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    panels = figure.subplots(1, 3)
    for codec in codecs.CODECS.values():
        measured = [row for row in found["rows"] if row["of"] == codec.name and "note" not in row]
        if measured:
            style = {"marker": MARKERS[type(codec)], "color": _colour(codec), "label": codec.name}
            style |= {"linewidth": 2 if isinstance(codec, codecs.Ours) else 1.2, "markersize": 4}
            for axes, way in zip(panels, table.WAYS):
                _draw_seconds(axes, measured, way, style)
            peaks = [max(row["encode MB"], row["decode MB"]) for row in measured]
            panels[2].plot([row["pixels"] / 1e6 for row in measured], peaks, **style)
    titles = ("encoding, s a megapixel", "decoding, s a megapixel", "peak memory of the process, MB")
    for axes, title in zip(panels, titles):
        _finish(axes, title, found["settings"]["megapixels"])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure


def _colour(codec):
    if isinstance(codec, codecs.Ours):
        return charts.OUR_COLOURS[codec.mode][0]
    return COLOURS[codec.name]


def _draw_seconds(axes: Axes, measured, way, style):
    """Draw the medians of a codec's rows, with bars from the least to the most."""
    spreads = [table.spread(row, way).scaled(1e6 / row["pixels"]) for row in measured]
    medians = [spread.median for spread in spreads]
    below = [spread.median - spread.least for spread in spreads]
    above = [spread.most - spread.median for spread in spreads]
    axes.errorbar([row["pixels"] / 1e6 for row in measured], medians, [below, above], capsize=2, **style)


def _finish(axes: Axes, title, megapixels):
    axes.set(xscale="log", yscale="log", xlabel="megapixels", title=title)
    axes.set_xticks(megapixels, [f"{size:g}" for size in megapixels], minor=False)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(NullFormatter() if _decades(axes) > 1 else PLAIN)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _decades(axes):
    """Powers of ten between the ends of the vertical axis."""
    bottom, top = axes.get_ylim()
    return math.log10(top / bottom)


def write(found: dict, folder: str):
    """Write the chart to bench.png in `folder`; raises as files.replacing."""
    with replacing(os.path.join(folder, "bench.png")) as temporary:
        draw(found).savefig(temporary, format="png", dpi=100, pil_kwargs={"optimize": True})
