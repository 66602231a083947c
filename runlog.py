"""What a training run tells: a CSV file, TensorBoard events and a picture of the learning curve."""

import csv
import os

import cli

FIELDS = [
    "step",
    "minutes",
    "crops_per_second",
    "learning_rate",
    "bpp",
    "psnr",
    "loss",
    "val_bpp",
    "val_psnr",
    "val_loss",
]


class RunLog:
    """Rows of FIELDS in `folder`/log.csv and in TensorBoard events beside it."""

    def __init__(self, folder, step=0):
        """Go on after `step` with the rows that are there, or from 0 without them."""
        from torch.utils.tensorboard import SummaryWriter

        self.path = os.path.join(folder, "log.csv")
        self.rows = []
        if step and os.path.exists(self.path):
            with open(self.path, newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        os.makedirs(folder, exist_ok=True)
        self.events = SummaryWriter(folder, purge_step=step + 1)

    def write(self, step, **values):
        """Add a row; a value that is left out stays empty."""
        self.rows.append(
            {"step": step} | {name: f"{value:.6g}" for name, value in values.items() if value is not None}
        )
        with cli.replacing(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(self.rows)
        for name, value in values.items():
            if value is not None:
                self.events.add_scalar(name, value, step)
        self.events.flush()

    def draw(self, path):
        """Write a picture of the training and the validation loss over steps."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        for name, label in ("loss", "training crops"), ("val_loss", "validation images"):
            points = [(int(row["step"]), float(row[name])) for row in self.rows if row.get(name)]
            if points:
                axes.plot(*zip(*points), marker=".", label=label)
        axes.set(xlabel="step", ylabel="lambda * 255^2 * MSE + bpp")
        axes.grid(alpha=0.3)
        axes.legend()
        with cli.replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
        pyplot.close(figure)
