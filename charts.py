"""Charts of the results of `evaluate.py`: rate-distortion curves, and bars as the original project drew them."""

import json
import os

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import cli
import results

METRICS = {"PSNR": "PSNR, dB", "MS-SSIM": "MS-SSIM, dB"}
COLOURS = {
    "JPEG": "#d97706",
    "WebP": "#16a34a",
    "AVIF": "#8b5cf6",
    "JPEG 2000": "#64748b",
    "JPEG XL": "#0891b2",
}
OUR_COLOURS = {
    "variable": ("#e11d48", "#9f1239", "#fb7185"),
    "soft": ("#f472b6", "#db2777", "#fbcfe8"),
    "hard": ("#a21caf", "#d946ef", "#701a75"),
}  # without effort, and with one and another
MARKERS = {"soft": "D", "hard": "s"}
KODAK = [f"kodim{number:02}" for number in range(1, 25)]
PUBLISHED = os.path.join(cli.HERE, "resources/reference/kodak.json")
FOUR = {
    "JPG low": ("JPEG", "hard, B=2"),
    "JPG high": ("JPEG", "soft, B=10"),
    "AE B=2": ("hard", None),
    "AE B=10": ("soft", None),
}
WIDEST = 2.0  # bits per pixel


def colour(found, codec):
    """The colour of a codec in the results."""
    if codec in COLOURS:
        return COLOURS[codec]
    mode = codec.split(",")[0]
    place = [other for other in found["ours"] if other.split(",")[0] == mode].index(codec)
    return OUR_COLOURS[mode][place % len(OUR_COLOURS[mode])]


def label(found, codec):
    """A codec's name for readers."""
    return f"AutoCompressor, {codec}" if codec in found["ours"] else codec


def published(found):
    """The published curves of resources/reference/kodak.json if the images are the 24 of Kodak, or none."""
    if sorted(os.path.splitext(image["name"])[0] for image in found["images"]) != KODAK:
        return []
    with open(PUBLISHED, encoding="utf-8") as file:
        return json.load(file)["curves"]


def in_decibels(ms_ssim):
    """MS-SSIM as -10 log10(1 - MS-SSIM): on its own scale all good pictures are near 1."""
    return -10 * np.log10(1 - np.minimum(ms_ssim, 1 - 1e-9))


def draw_curves(axes, found, metric, image=None, linewidth=1.6):
    """The codecs' curves for one image, or of the means, on matplotlib axes."""
    for codec in results.codecs(found):
        is_ours = codec in found["ours"]
        curve = np.array(results.curve(found, codec, image, metric)).reshape(-1, 2)
        values = in_decibels(curve[:, 1]) if metric == "MS-SSIM" else curve[:, 1]
        axes.plot(
            curve[:, 0],
            values,
            MARKERS.get(codec.split(",")[0], "o") + "-",
            color=colour(found, codec),
            label=label(found, codec),
            linewidth=1.5 * linewidth if is_ours else linewidth,
            markersize=5 if is_ours else 2.5,
            zorder=3 if is_ours else 2,
        )
    inside = np.concatenate([line.get_ydata()[line.get_xdata() <= WIDEST] for line in axes.lines])
    axes.set_xlim(0, WIDEST)
    if inside.size:
        axes.set_ylim(inside.min() - 1, inside.max() + 1)
    axes.grid(color="#dddddd", linewidth=0.5)


def draw_mean(found, metric):
    """Figure of the mean curves, published ones as thin lines where the images are Kodak's."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, found, metric)
    bottom, top = axes.get_ylim()
    key = {"PSNR": "psnr_db", "MS-SSIM": "ms_ssim"}[metric]
    curves = [curve for curve in published(found) if key in curve]
    for curve, shade in zip(curves, matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(curves)))):
        values = in_decibels(np.array(curve[key])) if metric == "MS-SSIM" else curve[key]
        axes.plot(
            curve["bpp"], values, color=shade, linewidth=0.7, label=f"{curve['codec']}, published", zorder=1
        )
    axes.set(
        xlabel="bits per pixel",
        ylabel=METRICS[metric],
        title=f"{metric}, mean over {len(found['images'])} images",
        ylim=(bottom, top),
    )
    axes.legend(fontsize=7, ncols=2 if curves else 1, loc="lower right")
    return figure


def draw_images(found, metric):
    """Figure of the curves for each image."""
    names = [image["name"] for image in found["images"]]
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, name in zip(grid.flat, names):
        draw_curves(axes, found, metric, name, 1)
        axes.set_title(name, fontsize=9)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("bits per pixel", fontsize=10)
    figure.supylabel(METRICS[metric], fontsize=10)
    grid[0, 0].legend(fontsize=7)
    return figure


def bars(found):
    """Rows of the original project's four for each image, {name: rows}: our modes of fixed rate, and JPEG at their
    bytes. Empty where one of them was not measured."""
    rows = {(row["image"], row["codec"], row["same bytes as"]): row for row in found["rows"]}
    four = {
        name: [rows.get((image["name"], *key)) for image in found["images"]] for name, key in FOUR.items()
    }
    return {} if any(None in group for group in four.values()) else four


def draw_bars(found):
    """Figure of `bars`: a PSNR for each of the four and each image, with its bits per pixel."""
    figure = Figure(figsize=(max(6, 2.8 * len(found["images"])), 4), layout="constrained")
    axes = figure.subplots()
    for place, (name, rows) in enumerate(bars(found).items()):
        shade = ("#fbbf24", "#d97706", "#fb7185", "#e11d48")[place]
        drawn = axes.bar(
            [index + 0.2 * (place - 1.5) for index in range(len(rows))],
            [row["PSNR"] for row in rows],
            0.19,
            label=name,
            color=shade,
        )
        axes.bar_label(
            drawn, [f"{row['PSNR']:.1f}\n{row['bpp']:.2f} bpp" for row in rows], fontsize=7, padding=2
        )
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


def draw(found, folder):
    """Write the charts of results as PNG files to `folder`: the means, each image, and bars."""
    figures = {}
    for metric in METRICS:
        if any(row[metric] is not None for row in found["rows"]):
            name = metric.lower().replace("-", "_")
            figures |= {name: draw_mean(found, metric), f"{name}_images": draw_images(found, metric)}
    if bars(found):
        figures["bars"] = draw_bars(found)
    for name, figure in figures.items():
        with cli.replacing(os.path.join(folder, f"{name}.png")) as temporary:
            figure.savefig(temporary, format="png", dpi=100, pil_kwargs={"optimize": True})
