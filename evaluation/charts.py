"""Charts of the results of `evaluate.py`: rate-distortion curves, and bars as of the original project."""

import json
import math
import os

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from coding.files import replacing
from evaluation import metrics, results

METRICS = {
    "PSNR": "PSNR, dB",
    "MS-SSIM": "MS-SSIM, dB",
    "SSIMULACRA2": "SSIMULACRA2",
    "Butteraugli": "Butteraugli, 3-norm",
}
LOWEST = {"SSIMULACRA2": 0}  # that a chart shows: what is below is hardly the picture
SCORES = (0, 30, 50, 60, 70, 80, 90, 95)  # of SSIMULACRA2 that a chart names
NEAREST = 1.0  # of its scores to 100 that are told apart
COLOURS = {
    "JPEG": "#d97706",
    "WebP": "#16a34a",
    "AVIF (tune=iq)": "#8b5cf6",
    "AVIF (tune=psnr)": "#4338ca",
    "AVIF (tune=iq, speed 3)": "#c4b5fd",
    "AVIF (tune=psnr, speed 3)": "#93c5fd",
    "JPEG 2000": "#64748b",
    "JPEG XL": "#0891b2",
}
OUR_COLOURS = {  # of each tune and effort, in turn
    "variable": ("#e11d48", "#9f1239", "#fb7185"),
    "soft": ("#f472b6", "#db2777", "#fbcfe8"),
    "hard": ("#a21caf", "#d946ef", "#701a75"),
}
MARKERS = {"soft": "D", "hard": "s"}
KODAK = [f"kodim{number:02}" for number in range(1, 25)]
TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PUBLISHED = os.path.join(TOP, "resources", "reference", "kodak.json")
PUBLISHED_KEYS = {"PSNR": "psnr_db", "MS-SSIM": "ms_ssim"}
# Of the published curves, those that a chart shows: more could not be told apart.
DRAWN = (
    "BPG 4:4:4",
    "AV1",
    "VTM",
    "factorized prior (bmshj2018)",
    "scale hyperprior (bmshj2018)",
    "joint autoregressive (mbt2018)",
    "cheng2020-anchor",
    "ELIC",
)
# The original project's four: codec, and the setting of ours whose bytes it has.
FOUR = {
    "JPG low": ("JPEG", "hard, B=2"),
    "JPG high": ("JPEG", "soft, B=10"),
    "AE B=2": ("hard", None),
    "AE B=10": ("soft", None),
}
SHADES = ("#fbbf24", "#d97706", "#fb7185", "#e11d48")  # of the four
WIDEST = 2.0  # bits per pixel


def colour(found: dict, codec: str) -> str:
    """The colour of a codec in the results."""
    if codec in COLOURS:
        return COLOURS[codec]
    mode = codec.split(",")[0]
    place = [other for other in found["ours"] if other.split(",")[0] == mode].index(codec)
    return OUR_COLOURS[mode][place % len(OUR_COLOURS[mode])]


def label(found: dict, codec: str) -> str:
    """A codec's name for readers."""
    return f"AutoCompressor, {codec}" if codec in found["ours"] else codec


def published(found: dict) -> list[dict]:
    """The published curves of resources/reference/kodak.json if the images are the 24 of Kodak, or none."""
    if sorted(os.path.splitext(image["name"])[0] for image in found["images"]) != KODAK:
        return []
    with open(PUBLISHED, encoding="utf-8") as file:
        return json.load(file)["curves"]


def published_curves(found: dict, metric: str) -> dict[str, list[tuple[float, float]]]:
    """Those of `published` that have a metric, by codec, as `results.curve` has curves."""
    key, scale = PUBLISHED_KEYS.get(metric), metrics.SCALES[metric]
    return {
        curve["codec"]: [(bpp, scale(value)) for bpp, value in sorted(zip(curve["bpp"], curve[key]))]
        for curve in published(found)
        if key in curve
    }


def bent(score: np.ndarray) -> np.ndarray:
    """The heights of scores of SSIMULACRA2 in a chart, whose equal steps are equal factors of 100 - score.

    On the scores' own scale the best pictures, a few points from each other, would lie close together.
    """
    return -np.log(np.maximum(100 - score, NEAREST))


def straight(height: np.ndarray) -> np.ndarray:
    """The scores at some heights, the inverse of `bent`."""
    return 100 - np.exp(-height)


def draw_curves(axes: Axes, found: dict, metric: str, image: str | None = None, linewidth: float = 1.6):
    """Draw the codecs' curves.

    axes: of matplotlib
    found: results, see `results.py`
    metric: one of METRICS
    image: its name, or None for the means
    linewidth: in points
    """
    for codec in results.codecs(found):
        is_ours = codec in found["ours"]
        bpps, values = _arrays(results.curve(found, codec, image, metric))
        axes.plot(
            bpps,
            values,
            MARKERS.get(codec.split(",")[0], "o") + "-",
            color=colour(found, codec),
            label=label(found, codec),
            linewidth=1.5 * linewidth if is_ours else linewidth,
            markersize=5 if is_ours else 2.5,
            zorder=3 if is_ours else 2,
        )
    axes.set_xlim(0, WIDEST)
    _set_heights(axes, metric)
    axes.grid(color="#dddddd", linewidth=0.5)


def _set_heights(axes, metric):
    """The limits, the scale and the ticks of the vertical axis, for the curves that are drawn."""
    inside = np.concatenate([line.get_ydata()[line.get_xdata() <= WIDEST] for line in axes.lines])
    if not inside.size:
        return
    lowest = max(inside.min(), LOWEST.get(metric, -math.inf))
    highest = max(inside.max(), lowest)
    axes.set_ylim(lowest - 1, highest + 1)
    if metric == "SSIMULACRA2":
        axes.set_yscale("function", functions=(bent, straight))
        axes.set_ylim(top=next((score for score in SCORES if score >= highest), 100))
        axes.yaxis.set_major_locator(FixedLocator(SCORES))
    if metric == "Butteraugli":  # whose scale is that of the distances with a minus
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")


def _arrays(curve):
    """Bits per pixel and qualities of a curve of both."""
    return np.array(curve).reshape(-1, 2).T


def draw_mean(found: dict, metric: str) -> Figure:
    """The mean curves, where the images are Kodak's with published ones; metric: one of METRICS."""
    figure = Figure(figsize=(9.5 if published_curves(found, metric) else 8, 5.5), layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, found, metric)
    draw_published(axes, found, metric)
    title = f"{metric}, mean over {len(found['images'])} images"
    if published_curves(found, metric):
        title += "; thin lines: published curves"
    axes.set(xlabel="bits per pixel", ylabel=METRICS[metric], title=title)
    axes.legend(fontsize=7, loc="lower right")
    return figure


def draw_published(axes: Axes, found: dict, metric: str):
    """Draw those of the published curves that DRAWN names as thin lines, with their names at their ends.

    axes: whose limits stay
    found: results, see `results.py`
    metric: one of METRICS
    """
    limits, ends = axes.get_ylim(), []
    for codec, curve in published_curves(found, metric).items():
        if codec in DRAWN:
            bpps, values = _arrays(curve)
            shown = matplotlib.colormaps["tab10"](DRAWN.index(codec))
            axes.plot(bpps, values, color=shown, linewidth=0.8, label=f"_{codec}", zorder=1)
            inside = (bpps <= WIDEST) & (values <= limits[1])
            if inside.any():
                ends.append((*_end(bpps, values, limits), codec, shown))
    axes.set_ylim(limits)
    _write_at_ends(axes, ends)


def _end(bpps, values, limits):
    """Where a curve ends inside of the chart, (bpp, value)."""
    bpp = np.linspace(bpps[0], min(bpps[-1], WIDEST), 200)
    value = np.interp(bpp, bpps, values)
    last = np.flatnonzero(value <= limits[1])[-1]
    return bpp[last], value[last]


def _write_at_ends(axes, ends):
    """Write names at the ends of curves, (bpp, value, name, colour): to the right of the chart, or above."""
    bottom, top = axes.get_ylim()
    line = (top - bottom) / 26  # height of a line of text
    ceiling = top
    for bpp, value, name, shown in sorted(ends, key=lambda end: -end[1]):
        if bpp < WIDEST / 2:
            place, side = (bpp - 0.05 * WIDEST, value + 2 * line), "right"
        else:
            place, side = (1.03 * WIDEST, min(value, ceiling)), "left"
            ceiling = place[1] - line
        axes.annotate(
            name,
            (bpp, value),
            place,
            color=shown,
            fontsize=7,
            horizontalalignment=side,
            verticalalignment="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": shown, "linewidth": 0.5, "linestyle": ":"},
        )


def draw_images(found: dict, metric: str) -> Figure:
    """The curves for each image; metric: one of METRICS."""
    names = [image["name"] for image in found["images"]]
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows + 0.8), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, name in zip(grid.flat, names):
        draw_curves(axes, found, metric, name, linewidth=1)
        axes.set_title(name, fontsize=9)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("bits per pixel", fontsize=10)
    figure.supylabel(METRICS[metric], fontsize=10)
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, fontsize=7, loc="outside upper center", ncols=2 * columns)
    return figure


def bars(found: dict) -> dict[str, list[dict]]:
    """Rows of the original project's four for each image: our modes of fixed rate, and JPEG at their bytes.

    By their names; empty where one of them was not measured.
    """
    rows = {(row["image"], row["codec"], row["same bytes as"]): row for row in found["rows"]}
    four = {}
    for name, (codec, same) in FOUR.items():
        four[name] = [rows.get((image["name"], codec, same)) for image in found["images"]]
        if None in four[name]:
            return {}
    return four


def draw_bars(found: dict) -> Figure:
    """`bars`: a PSNR for each of the four and each image, with its bits per pixel."""
    figure = Figure(figsize=(max(6, 2.8 * len(found["images"])), 4), layout="constrained")
    axes = figure.subplots()
    for place, (name, rows) in enumerate(bars(found).items()):
        left = [index + 0.2 * (place - 1.5) for index in range(len(rows))]
        drawn = axes.bar(left, [row["PSNR"] for row in rows], 0.19, label=name, color=SHADES[place])
        texts = [f"{row['PSNR']:.1f}\n{row['bpp']:.2f} bpp" for row in rows]
        axes.bar_label(drawn, texts, fontsize=7, padding=2)
    axes.set(
        ylabel=METRICS["PSNR"],
        title="At the bytes of hard mode (B=2) and of soft mode (B=10)",
        xticks=range(len(found["images"])),
        xticklabels=[image["name"] for image in found["images"]],
    )
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=4, fontsize=8, loc="upper center")
    return figure


def draw(found: dict, folder: str):
    """Write the charts of results as PNG files to `folder`: the means, each image, and bars."""
    figures = {}
    for metric in results.known_metrics(found):
        name = metric.lower().replace("-", "_")
        figures |= {name: draw_mean(found, metric), f"{name}_images": draw_images(found, metric)}
    if bars(found):
        figures["bars"] = draw_bars(found)
    for name, figure in figures.items():
        with replacing(os.path.join(folder, f"{name}.png")) as temporary:
            figure.savefig(temporary, format="png", dpi=100, pil_kwargs={"optimize": True})
