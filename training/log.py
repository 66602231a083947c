"""What a training run tells: a CSV file, TensorBoard events, a picture of the loss, a bar that counts."""

import csv
import os

import torch
from tqdm import tqdm

from coding.files import replacing
from training.loss import distortion, psnr

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

    def __init__(self, folder: str, step: int = 0):
        """Go on after `step` with the rows that are there, or from 0 without them."""
        from torch.utils.tensorboard import SummaryWriter

        self.path = os.path.join(folder, "log.csv")
        self.rows = []
        if step and os.path.exists(self.path):
            with open(self.path, newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        os.makedirs(folder, exist_ok=True)
        self.events = SummaryWriter(folder, purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]):
        """Add a row; a field that is left out stays empty."""
        self.rows.append({"step": step} | {name: f"{value:.6g}" for name, value in values.items()})
        with replacing(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(self.rows)
        for name, value in values.items():
            self.events.add_scalar(name, value, step)
        self.events.flush()

    def draw(self, path: str):
        """Write a picture of the training and the validation loss over steps."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        for name, label in ("loss", "training crops"), ("val_loss", "validation images"):
            rows = [row for row in self.rows if row.get(name)]
            if rows:
                steps, losses = [int(row["step"]) for row in rows], [float(row[name]) for row in rows]
                axes.plot(steps, losses, marker=".", label=label)
        axes.set(xlabel="step", ylabel="lambda * 255^2 * error + bpp")
        axes.grid(alpha=0.3)
        axes.legend()
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
        pyplot.close(figure)


class Interval:
    """What the steps since the last validation gave."""

    def __init__(self, step: int, elapsed: float):
        """step, elapsed: steps and seconds of the run before the first of them."""
        self.step, self.elapsed = step, elapsed
        self.bpps, self.mses = [], []

    def add(self, bpp: torch.Tensor, mse: torch.Tensor):
        """Note the terms of a step's loss; they stay on their device, which is not waited for."""
        self.bpps.append(bpp)
        self.mses.append(mse)

    def __len__(self):
        return len(self.bpps)

    def means(self, most: int | None = None) -> tuple[float, float]:
        """Mean bits per pixel and mean squared error, of the last `most` steps where that is given."""
        first = max(0, len(self) - most) if most else 0
        return torch.stack(self.bpps[first:]).mean().item(), torch.stack(self.mses[first:]).mean().item()

    def row(self, step: int, elapsed: float, batch: int, lambda_: float) -> dict[str, float]:
        """Fields of the log.

        step, elapsed: steps and seconds of the run after the last of them
        batch: crops of a step in all processes
        lambda_: weight of the distortion
        """
        bpp, mse = self.means()
        return {
            "crops_per_second": (step - self.step) * batch / (elapsed - self.elapsed),
            "bpp": bpp,
            "psnr": psnr(mse),
            "loss": distortion(mse, lambda_) + bpp,
        }


class Bar:
    """A progress bar that counts crops."""

    def __init__(self, crops: int, shown: bool):
        """crops: those of the steps before; shown: on a terminal."""
        self._bar = tqdm(initial=crops, unit="crop", disable=None if shown else True)

    def update(self, crops: int, progress: float):
        """crops: in all, so far; progress: the share of the run that they are, in (0, 1]."""
        self._bar.total = round(crops / progress)  # the time left follows whichever limit is nearer
        self._bar.update(crops - self._bar.n)

    def tell(self, bpp: float, mse: float):
        """Show bits per pixel and a mean squared error of pixels in [0, 1]."""
        self._bar.set_postfix_str(f"{bpp:.3f} bpp {psnr(mse):.2f} dB")

    def close(self):
        """Leave the bar as it is."""
        self._bar.close()
