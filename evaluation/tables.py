"""The results of `evaluate.py` as tables for a terminal or in Markdown: ours, their means, and BD-rates."""

from evaluation import metrics, results

NAMES = ("image", "mode", "tune", "by", "range")  # columns that are written to the left
TRIAL = ("image", "mode", "tune", "quality", "effort")  # columns that say what a row is of
SECONDS = ("encode s", "decode s")  # the last columns
NO_COLUMNS = ("image", "codec", "setting", "same bytes as", *SECONDS)
DIGITS = {
    "quality": "g",
    "bytes": ".0f",
    "bpp": ".4f",
    "MS-SSIM": ".4f",
    "Butteraugli": ".3f",
    "LPIPS": ".4f",
}
MEANS = ("mean", "mean curve")  # rows below those of the images


def our_rows(found: dict, trials: list) -> list[dict]:
    """The rows of our files, trial by trial and image by image.

    found: results, see `results.py`
    trials: measure.Trial of each

    Columns are TRIAL, what is known of any file, and SECONDS.
    """
    keys = dict.fromkeys(key for row in found["rows"] for key in row if key not in NO_COLUMNS)
    known = [key for key in keys if any(row.get(key) is not None for row in found["rows"])]
    rows = []
    for trial in trials:
        for row in found["rows"]:
            if (row["codec"], row["setting"]) == (trial.codec, trial.setting):
                names = (row["image"], trial.mode, trial.tune, trial.quality, trial.effort)
                rows.append(dict(zip(TRIAL, names)) | {key: row.get(key) for key in (*known, *SECONDS)})
    return rows


def means(rows: list[dict]) -> list[dict]:
    """The mean over the images for each trial among `our_rows`; None where one has no number."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in TRIAL[1:]), []).append(row)
    table = []
    for of_trial, group in groups.items():
        numbers = [key for key in group[0] if key not in TRIAL]
        names = dict(zip(TRIAL[1:], of_trial)) | {"images": len(group)}
        table.append(names | {key: results.mean([row[key] for row in group]) for key in numbers})
    return table


def text(row: dict) -> dict:
    """A row with its numbers in their usual digits, "-" where there is none."""
    return {key: _text_of(key, value) for key, value in row.items()}


def _text_of(key, value):
    if value is None:
        return "-"
    return format(value, DIGITS.get(key, ".2f")) if isinstance(value, float) else value


def bd_rates(found: dict, metric: str = "PSNR") -> list[dict]:
    """The BD-rates over all of a metric, in percent: a row for each image, and for each of MEANS."""
    pairs = [pair for pair in results.over_all(found) if pair["metric"] == metric]
    rows, others = {}, dict.fromkeys(pair["against"] for pair in pairs)
    for pair in pairs:
        for name, percent in (pair["images"] | {name: pair[name] for name in MEANS}).items():
            empty = {"image": name, "mode": pair["codec"]} | dict.fromkeys(others, "-")
            row = rows.setdefault((pair["codec"], name), empty)
            if percent is not None:
                row[pair["against"]] = f"{percent:+.1f}"
    return list(rows.values())


def ranges(found: dict) -> list[dict]:
    """The means of all BD-rates, in percent: a row for each metric, range and codec of ours.

    A mean that is not of all images has their number in parentheses.
    """
    rows, others = {}, dict.fromkeys(pair["against"] for pair in found["bd_rate"])
    for pair in found["bd_rate"]:
        part = "all" if pair["from"] is None else f"{pair['from']:g} to {pair['to']:g}"
        names = {"by": pair["metric"], "range": part, "mode": pair["codec"]}
        row = rows.setdefault(tuple(names.values()), names | dict.fromkeys(others, "-"))
        known = results.count(pair)
        of = f" ({known})" if known < len(pair["images"]) else ""
        row[pair["against"]] = f"{pair['mean']:+.1f}{of}"
    return list(rows.values())


def lines(rows: list[dict], names: tuple[str, ...] = NAMES, as_markdown: bool = False) -> list[str]:
    """Dicts of the same keys as a table, columns of names to the left and numbers to the right."""
    columns = list(rows[0])
    cells = [columns] + [[str(value) for value in text(row).values()] for row in rows]
    if as_markdown:
        cells.insert(1, ["---" if column in names else "---:" for column in columns])
        return [f"| {' | '.join(line)} |" for line in cells]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    sides = [str.ljust if column in names else str.rjust for column in columns]
    return ["  ".join(side(*cell) for side, *cell in zip(sides, line, widths)) for line in cells]


def show(rows: list[dict], names: tuple[str, ...] = NAMES, as_markdown: bool = False, title: str = ""):
    """Print `lines`, below a title if there is one; in Markdown an empty line is between the two."""
    if title:
        print(f"\n{title}" + "\n" * as_markdown)
    print("\n".join(lines(rows, names, as_markdown)))


def show_all(found: dict, trials: list, as_markdown: bool = False):
    """Print the means of our trials, the BD-rates by each metric where there are some, and the versions.

    See `our_rows`.
    """
    options = {"as_markdown": as_markdown}
    rows = means(our_rows(found, trials))
    theirs = [key for key in rows[0] if key.endswith(" SSIMULACRA2")]
    show([{key: value for key, value in row.items() if key not in theirs} for row in rows], **options)
    if theirs:
        columns = (*TRIAL[1:], "bytes", "SSIMULACRA2", *theirs)
        rows = [{key.removesuffix(" SSIMULACRA2"): row[key] for key in columns} for row in rows]
        show(rows, title="SSIMULACRA2 of ours, and of the others at the same bytes", **options)
    for metric in metrics.SCALES:
        rows = bd_rates(found, metric)
        if rows:
            title = f"BD-rate by {metric}: bytes for the same {metric}, in % more or less than the other's"
            show(rows, title=title, **options)
    if found["bd_rate"]:
        title = "BD-rates over ranges of a metric: means, with the number of their images if not all have one"
        show(ranges(found), title=title, **options)
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    print(f"\nMeasured with {versions}")
