"""The results of `evaluate.py` as tables for a terminal: ours, their means, and BD-rates."""

from evaluation import results

NAMES = ("image", "mode")  # columns that are written to the left
TRIAL = ("image", "mode", "quality", "effort")  # columns that say what a row is of
SECONDS = ("encode s", "decode s")  # the last columns
NO_COLUMNS = ("image", "codec", "setting", "same bytes as", *SECONDS)
DIGITS = {"quality": "g", "bytes": ".0f", "bpp": ".4f", "MS-SSIM": ".4f", "LPIPS": ".4f"}


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
                names = (row["image"], trial.mode, trial.quality, trial.effort)
                rows.append(dict(zip(TRIAL, names)) | {key: row.get(key) for key in (*known, *SECONDS)})
    return rows


def means(rows: list[dict]) -> list[dict]:
    """The mean over the images for each trial among `our_rows`; None where one has no number."""
    groups = {}
    for row in rows:
        groups.setdefault((row["mode"], row["quality"], row["effort"]), []).append(row)
    table = []
    for (mode, quality, effort), group in groups.items():
        numbers = [key for key in group[0] if key not in TRIAL]
        names = {"mode": mode, "quality": quality, "effort": effort, "images": len(group)}
        table.append(names | {key: results.mean([row[key] for row in group]) for key in numbers})
    return table


def text(row: dict) -> dict:
    """A row with its numbers in their usual digits, "-" where there is none."""
    return {key: _text_of(key, value) for key, value in row.items()}


def _text_of(key, value):
    if value is None:
        return "-"
    return format(value, DIGITS.get(key, ".2f")) if isinstance(value, float) else value


def bd_rates(found: dict) -> list[dict]:
    """The BD-rates among the results, in percent: a row for each image, and the mean."""
    rows, others = {}, dict.fromkeys(pair["against"] for pair in found["bd_rate"])
    for pair in found["bd_rate"]:
        for name, percent in (pair["images"] | {"mean": pair["mean"]}).items():
            empty = {"image": name, "mode": pair["codec"]} | dict.fromkeys(others, "-")
            row = rows.setdefault((pair["codec"], name), empty)
            if percent is not None:
                row[pair["against"]] = f"{percent:+.1f}"
    return list(rows.values())


def show(rows: list[dict], names: tuple[str, ...] = NAMES):
    """Print dicts of the same keys as a table, columns of names to the left and numbers to the right."""
    columns = list(rows[0])
    lines = [columns] + [[str(value) for value in text(row).values()] for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        cells = []
        for column, width, cell in zip(columns, widths, line):
            cells.append(cell.ljust(width) if column in names else cell.rjust(width))
        print("  ".join(cells))


def show_all(found: dict, trials: list):
    """Print the means of our trials, and the BD-rates where there are some; see `our_rows`."""
    show(means(our_rows(found, trials)))
    if found["bd_rate"]:
        print("\nBD-rate: bytes for the same PSNR, in % more or less than the other codec's")
        show(bd_rates(found))
