"""Learn the tables of the detail layer for the eye, of coding/detail.py, from what decoded photographs lack.

    python3 -m training.detail_steps photos/

Where an error counts s times as much, the step is best sqrt(s) times as fine: then a bit less anywhere costs
the same. So the sensitivity of each class of coefficients is measured, the gradient of the loss along the
error over the error's square, and the table follows it. That changes the error, so this is done ROUNDS times.
At last all steps are moved together until the loss is that of the tune for PSNR: a quality keeps its loss, in
fewer bytes. Prints `log_factors` and `decay`, to be put there.
"""

import argparse
import bisect
import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import cli
from coding import detail
from coding.detail import Tune
from coding.errors import UserError
from coding.modes import MODES, Setting
from engines import shipped, tiled
from engines.pair import Encoder
from networks import errors
from pictures.picture import Picture
from training import data

MODE = MODES["variable"]
NUMBERS = MODE.detailed[8], MODE.detailed[24]  # of the rates that are learned from
SIDE, LIMIT = 256, 400  # pixels of a crop; files to read
ROUNDS = 3
PRIOR = 50  # coefficients of a context, as many as what is usual counts for
MOVES = range(-16, 17)  # eighths of an octave that all steps may be moved by
MOST = 250  # of decay
LEAST = 1e-6  # of a sensitivity, as a share of the largest


@dataclasses.dataclass(frozen=True)
class Sample:
    """A decoded photograph: its pixels and what they lack, float32 (16 h, 16 w, 3), in levels."""

    pixels: np.ndarray
    lacking: np.ndarray

    def quantized(self, step: float, tune: Tune) -> tuple[np.ndarray, np.ndarray]:
        """Integers of the coefficients, and the coefficients' errors, each (3, h, w, 16, 16)."""
        coefficients, steps = detail.transform(self.lacking, tune), detail.steps(step, tune, 3)
        integers = detail.quantize(coefficients, steps)
        return integers, integers * steps - coefficients

    def added(self, error: np.ndarray, tune: Tune) -> torch.Tensor:
        """What the coefficients with their errors add to the pixels (H, W, 3)."""
        return torch.from_numpy(detail.invert(error, tune) + self.lacking)


Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # as in errors.BY_TUNE


def parse_args() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="detail_steps.py", description=__doc__, formatter_class=formatter)
    parser.add_argument("photos", nargs="+", help="folders and tar files of images")
    parser.add_argument(
        "--crops", type=cli.positive, default=48, help="to learn from, of 256x256 (default: 48)"
    )
    parser.add_argument("--encoder_path", help="an encoder.model of variable mode (default: the shipped one)")
    return parser.parse_args()


def load_encoder(path: str) -> Encoder:
    """The encoder in a file, with its decoder; raises UserError for one of another mode or without."""
    encoder = Encoder.load(path)
    if encoder.config.mode != MODE or encoder.decoder is None:
        raise UserError(f"{path}: not an encoder of variable mode with a decoder.model beside it")
    return encoder


def sample_of(crop: np.ndarray, encoder: Encoder) -> Sample:
    """What an encoder and its decoder make of a crop, uint8 (H, W, 3), at the finest rate."""
    picture, t = Picture.from_image(Image.fromarray(crop)), MODE.rate(MODE.undetailed[-1])
    payload = encoder.coder.encode(tiled.real_stripes(picture, t, encoder), t)
    shape = tiled.shape_of(picture.metadata)
    stripes = (latents.y for latents in encoder.coder.decode(payload, shape, t))
    pixels = np.concatenate(list(tiled.pixel_stripes(stripes, picture.metadata, t, encoder.decoder)))
    return Sample(pixels.astype(np.float32), np.subtract(crop, pixels, dtype=np.float32))


def learn(samples: list[Sample], steps: list[float], start: Tune, loss: Loss) -> Tune:
    """`start` with tables of its own for samples, at steps in levels."""
    tune = with_logs(start, np.zeros(np.shape(start.log_factors)))
    for _ in range(ROUNDS):
        logs = -np.log2(sensitivities(samples, steps, tune, loss)) / 2
        logs -= logs.mean()
        tune = with_logs(start, logs)
    wanted = mean_log_loss(samples, steps, detail.TUNES["psnr"], loss)

    def loss_at(eighths):
        return mean_log_loss(samples, steps, with_logs(start, logs + eighths / detail.STEPS_PER_OCTAVE), loss)

    eighths = bisect.bisect_right(MOVES, wanted, key=loss_at) + MOVES.start - 1
    tune = with_logs(start, logs + eighths / detail.STEPS_PER_OCTAVE)
    return dataclasses.replace(tune, decay=decays(samples, steps, tune))


def with_logs(tune: Tune, logs: np.ndarray) -> Tune:
    """A tune with the logarithms to base 2 (3, 8) of its factors, rounded."""
    return dataclasses.replace(tune, log_factors=as_tuples(np.rint(detail.STEPS_PER_OCTAVE * logs)))


def sensitivities(samples: list[Sample], steps: list[float], tune: Tune, loss: Loss) -> np.ndarray:
    """By how much the logarithm of the loss grows with the squared error of each class, (3, 8), in units."""
    along, squares = np.zeros((2, 3, detail.SIDE, detail.SIDE))
    for sample, step in itertools.product(samples, steps):
        _, error = sample.quantized(step, tune)
        added = sample.added(error, tune).requires_grad_()
        log_loss_of(sample, added, loss).backward()
        gradient = detail.gradient(added.grad.numpy(), tune)
        along += (gradient * error).sum((1, 2))
        squares += np.square(error / step).sum((1, 2))  # finer steps weigh alike
    along, squares = map(of_classes, (along, squares))
    return np.maximum(along, LEAST * along.max()) / np.maximum(squares, LEAST)


def of_classes(sums: np.ndarray) -> np.ndarray:
    """Sums (3, 16, 16) of coefficients as those of the classes that have steps of their own, (3, 8)."""
    return np.stack([np.bincount(detail.step_classes().ravel(), its.ravel()) for its in sums])


def mean_log_loss(samples: list[Sample], steps: list[float], tune: Tune, loss: Loss) -> float:
    """The mean logarithm of the loss of decoded samples."""
    logs = []
    for sample, step in itertools.product(samples, steps):
        _, error = sample.quantized(step, tune)
        with torch.no_grad():
            logs.append(log_loss_of(sample, sample.added(error, tune), loss).item())
    return np.mean(logs)


def log_loss_of(sample: Sample, added: torch.Tensor, loss: Loss) -> torch.Tensor:
    """The logarithm of the loss of a sample's pixels with what is added to them (H, W, 3)."""
    pixels, lacking = torch.from_numpy(sample.pixels), torch.from_numpy(sample.lacking)
    pair = (((pixels + more) / 255).permute(2, 0, 1)[None] for more in (added, lacking))
    return loss(*pair).log()[0]


def decays(samples: list[Sample], steps: list[float], tune: Tune) -> tuple[tuple[int, ...], ...]:
    """`decay` of a tune that gives the mean magnitudes in all contexts."""
    sums, counts = np.zeros((2, np.size(tune.decay)))
    for sample, step in itertools.product(samples, steps):
        for integers, contexts in detail.in_contexts(sample.quantized(step, tune)[0]):
            sums += np.bincount(contexts, np.abs(integers), len(sums))
            counts += np.bincount(contexts, minlength=len(sums))
    usual = np.array(detail.TUNES["psnr"].decay).ravel() / 256
    # Weights r^|k| have the mean magnitude 2 r / (1 - r^2).
    mean = (sums + PRIOR * 2 * usual / (1 - usual**2)) / (counts + PRIOR)
    ratio = (np.sqrt(1 + mean**2) - 1) / mean
    return as_tuples(np.rint(256 * ratio).clip(1, MOST).reshape(np.shape(tune.decay)))


def as_tuples(table: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in table)


def main():
    args = parse_args()
    encoder = load_encoder(args.encoder_path or shipped.path(MODE.name, "encoder", "eye"))
    crops = data.Crops(data.load_images(args.photos, SIDE, LIMIT), SIDE)
    drawn = crops.sample(args.crops, np.random.default_rng(0))
    pictures = (255 * drawn).round().byte().permute(0, 2, 3, 1).numpy()
    samples = [sample_of(picture, encoder) for picture in tqdm(pictures, "coding", disable=None)]
    steps = [Setting(MODE, number).step for number in NUMBERS]
    tune = learn(samples, steps, detail.TUNES["eye"], errors.seen)
    for name in "log_factors", "decay":
        print(f"{name}=(")
        for row in getattr(tune, name):
            print(f"    {row},")
        print("),")


if __name__ == "__main__":
    cli.run(main)
