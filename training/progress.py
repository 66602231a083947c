"""The table of a long training, and its picture: the loss on validation images by hours and by crops."""

import csv
import os

from coding.errors import UserError
from coding.files import replacing
from coding.modes import TUNES
from training.stages import Stage

WHAT = ("quantize_mode", "tune")  # of the rows whose losses compare
MEASURED = ("learning_rate", "val_bpp", "val_psnr", "val_loss")  # columns of a run's log too
LANDED = "landed"  # is written by hand: the version that shipped these weights
COLUMNS = (*WHAT, "stage", "step", "hours", "crops", *MEASURED, LANDED)
AXES = {"hours": ("hours", 1), "crops": ("million crops", 1e-6)}  # labels and units of the columns


def table(stages: list[Stage], output_dir: str, earlier: list[dict], marked: list[dict]) -> list[dict]:
    """Rows of all validations after the first step: those of `earlier`, and then those of the stages.

    marked: rows whose `landed` stays
    """
    landed = {(row["stage"], row["step"]): row[LANDED] for row in marked}
    rows, logs = list(earlier), {}
    hours, crops = (float(rows[-1][name]) if rows else 0.0 for name in ("hours", "crops"))
    for stage in stages:
        path = os.path.join(output_dir, stage.name, "log.csv")
        if not os.path.exists(path):
            break
        log = logs[stage.name] = read(path)
        first = len(logs[stage.before]) if stage.continues else 1
        what = {"stage": stage.name, "tune": TUNES[0]} | stage.settings
        for last, row in zip(log[first - 1 :], log[first:]):
            minutes = float(row["minutes"]) - float(last["minutes"])
            hours += minutes / 60
            crops += 60 * minutes * float(row["crops_per_second"])
            so_far = {"hours": f"{hours:.3f}", "crops": f"{crops:.0f}"}
            values = what | row | so_far | {LANDED: landed.get((stage.name, row["step"]), "")}
            rows.append({name: values[name] for name in COLUMNS})
    return rows


def read_table(path: str) -> list[dict]:
    """The rows of what `write` wrote; raises UserError for another table, and OSError."""
    rows = read(path)
    if any(set(row) != set(COLUMNS) for row in rows):
        raise UserError(f"{path}: not the table of a campaign")
    return rows


def read(path: str) -> list[dict]:
    """The rows of a table or of a run's log; raises OSError."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict], path: str):
    """Write the table; raises OSError."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def draw(rows: list[dict], path: str):
    """Write the picture of some rows: a line for each stage, a star where weights were shipped; raises
    OSError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = list(dict.fromkeys(tuple(row[name] for name in WHAT) for row in rows))
    size = (10, 3.6 * len(kinds))
    figure, panels = pyplot.subplots(len(kinds), 2, figsize=size, layout="constrained", squeeze=False)
    for kind, pair in zip(kinds, panels):
        its = [row for row in rows if tuple(row[name] for name in WHAT) == kind]
        for panel, (column, (label, unit)) in zip(pair, AXES.items()):
            _draw_stages(panel, its, [unit * float(row[column]) for row in its])
            panel.set(xlabel=label, ylabel=f"loss, {' '.join(kind)}")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


def _draw_stages(panel, rows, places):
    """Lines in a panel; places: of the rows on its x axis."""
    points = list(zip(rows, places, [float(row["val_loss"]) for row in rows]))
    for stage in dict.fromkeys(row["stage"] for row in rows):
        its = [(place, loss) for row, place, loss in points if row["stage"] == stage]
        panel.plot(*zip(*its), ".-", label=stage)
    for row, *point in points:
        if row[LANDED]:
            panel.plot(*point, "k*", markersize=12)
            panel.annotate(row[LANDED], point)
    panel.grid(alpha=0.3)
    panel.legend()
