"""Learn the quantization steps of the tune for the eye, for a trained pair whose networks stay as they are.

    python3 -m training.steps --pair models/model_variable --val held_out/ --output_dir runs/steps

Writes the pair and its encoder for the eye with a new table to --output_dir. Takes some minutes of two cores,
and gives the same table whenever it is run.

How it is learned. A step changes what its component costs and what errors it has. Bits are the entropy of a
rounded Laplace variable, by a table over its scale in steps. Errors are those that rounding makes now: their
size, and with it the gradient, follows the step as the root mean square error of such a variable does, by
another table. The gradient of rounded latents alone would know nothing of zeros, which cost nothing, and
steps would grow without end. The weight of the distortion at each rate is that for which a factor common to
all steps is best as it is, so that rates stay where they are.
"""

import argparse
import dataclasses
import functools
import math
import os

import numpy as np
import torch
from tqdm import tqdm

import cli
import quantize
from coding import entropy_model, exact
from coding.entropy_model import LOG_STEP, MOST_LOG_STEP
from coding.latents import LatentCoder
from coding.modes import HIGHEST_RATE
from coding.order import HYPER_STRIDE
from engines.model_file import ModelFile
from model import SynthesisTransform
from networks import errors, eye, walk
from networks.precision import has_bfloat16
from training import data, start
from training.loop import prepare_torch
from training.loss import Networks

TUNE = "eye"
NAMES = ("encoder.model", "encoder_eye.model")  # of the encoders of a pair
SIDE = 256  # of a crop, in pixels
RATES = (-1.0, -0.5, 0.0, 0.421875, 0.828125, 1.25, 1.671875, HIGHEST_RATE)  # that are learned in turn
rounded = quantize.round_with_dead_zone
LEARNING_RATE = 0.06  # of Adam, in octaves; constant for half of the iterations, then falling to zero
BATCH = 2  # crops in an iteration
GRID = np.arange(-7, 10, 0.05)  # log2 deviations of the tables, in steps


def parse_args() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="steps.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pair", required=True, help="folder of encoder.model, encoder_eye.model and decoder.model")
    add("--val", nargs="+", required=True, help="folders and tar files of images to learn from")
    add("--output_dir", default=os.path.join("runs", "steps"), help="default: runs/steps")
    text = "of the error that is the distance for the eye, the rest is the squared error (default: 0.6)"
    add("--share", type=float, default=0.6, help=text)
    add("--iterations", type=int, default=192, help="default: 192")
    add("--images", type=int, default=24, help="of --val, a crop of each (default: 24)")
    return parser.parse_args()


@dataclasses.dataclass(frozen=True)
class Samples:
    """Crops as they are coded at a rate t, each (N, ...).

    pixels: (N, 3, H, W) in [0, 1]; y: latents (N, K, h, w), real
    mean, log_scale: what the entropy model says of them where they are coded with steps of one, like y
    """

    t: float
    pixels: torch.Tensor
    y: torch.Tensor
    mean: torch.Tensor
    log_scale: torch.Tensor

    def of(self, which: np.ndarray) -> "Samples":
        """Those of some numbers."""
        return Samples(self.t, *(x[which] for x in (self.pixels, self.y, self.mean, self.log_scale)))


@torch.no_grad()
def sample(networks: Networks, crops: torch.Tensor, t: float) -> Samples:
    """Crops, (N, 3, H, W) in [0, 1], as `networks` code them at rate t with the steps that they have."""
    model, rate = networks.entropy_model, torch.tensor([t])
    y = torch.cat([networks.analysis.clip(networks.analysis(x, rate)) for x in crops.split(1)])
    mean_z, _ = model.hyper_parameters(rate)
    z = mean_z + (walk.to_rows(networks.analysis.hyper_latents(y)) - mean_z).round()  # (N, P, Z)
    shape = y.shape[2:]
    groups = walk.Walk(model, walk.from_rows(z, [side // HYPER_STRIDE for side in shape]), shape, rate, TUNE)
    slices = [walk.to_rows(part) for part in y.split(model.slices, 1)]
    means, log_scales = ([torch.empty_like(part) for part in slices] for _ in range(2))
    for group in groups:
        distance, places = group.distance(group.of(slices)), (group.step.slice, group.positions)
        groups.put(group, group.latents(rounded(distance, group.mean, group.log_scale)))
        means[places[0]][:, places[1]] = group.mean
        log_scales[places[0]][:, places[1]] = group.log_scale + group.delta.log2()
    found = (walk.from_rows(torch.cat(parts, 2), shape) for parts in (means, log_scales))
    return Samples(t, crops, y, *found)


@functools.cache
def tables() -> tuple[torch.Tensor, torch.Tensor]:
    """Over GRID: the entropy of a rounded Laplace variable in bits, and log2 of its root mean square error in
    steps."""
    entropies, sizes = [], []
    for log_scale in GRID:
        rate = math.sqrt(2) / 2.0**log_scale
        x = torch.linspace(0, max(8 * 2.0**log_scale, 3), 6000, dtype=torch.float64)
        near = rounded(x, torch.zeros_like(x), torch.full_like(x, log_scale))
        weight = torch.exp(-rate * x)
        sizes.append(0.5 * torch.log2(((x - near) ** 2 * weight).sum() / weight.sum() + 1e-12))
        n = torch.arange(1, int(12 * 2.0**log_scale) + 30, dtype=torch.float64)
        far = 0.5 * torch.exp(-rate * (n - 0.5)) * -math.expm1(-rate)
        shares = torch.cat([torch.tensor([1 - math.exp(-rate / 2)]), far, far])
        entropies.append(-(shares * torch.log2(shares.clamp_min(1e-30))).sum())
    return torch.stack(entropies).float(), torch.stack(sizes).float()


def look_up(table: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """What a table over GRID says of log2 scales, of any shape, with a gradient."""
    place = ((log_scale - GRID[0]) / (GRID[1] - GRID[0])).clamp(0, len(GRID) - 1.001)
    whole = place.floor().long()
    return torch.lerp(table[whole], table[whole + 1], place - whole)


class Objective:
    """What steps cost; share: of the error that is the distance for the eye."""

    def __init__(self, synthesis: SynthesisTransform, share: float):
        self.synthesis, self.share = synthesis.requires_grad_(False), share

    def terms(self, some: Samples, log_step: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bits per pixel, and the error, both scalars, with steps of 2^log_step (K,)."""
        entropy, error = tables()
        log_step = log_step.clamp(-MOST_LOG_STEP, MOST_LOG_STEP)[:, None, None]
        step, in_steps = torch.exp2(log_step), some.log_scale - log_step
        near = some.mean + step * rounded((some.y - some.mean) / step, some.mean, in_steps)
        size = log_step + look_up(error, in_steps)
        wrong = (near - some.y).detach() * torch.exp2(size - size.detach())
        bits = look_up(entropy, in_steps).sum() / some.pixels[:, 0].numel()
        return bits, self._error(some, some.y + wrong)

    def _error(self, some, latents):
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(latents.device)):
            latents = latents.contiguous(memory_format=torch.channels_last)
            x = self.synthesis(latents, torch.full((len(latents),), some.t)).float()
        seen = errors.UNIT * eye.distance(x, some.pixels).mean()
        return self.share * seen + (1 - self.share) * (x - some.pixels).square().mean()

    def weight(self, some: Samples) -> float:
        """The weight of the error with which a factor common to all steps is best at one."""
        log_step = torch.zeros(some.y.shape[1], requires_grad=True)
        bits, error = (
            torch.autograd.grad(term, log_step, retain_graph=True)[0].sum()
            for term in self.terms(some, log_step)
        )
        return -(bits / error).item()


def learn(objective: Objective, samples: list[Samples], iterations: int) -> np.ndarray:
    """A table of quantization steps, float64 (3, K); samples: of each rate, which are learned in turn."""
    table = torch.zeros(3, samples[0].y.shape[1], requires_grad=True)
    weights = [objective.weight(some.of(slice(0, 3 * BATCH))) for some in samples]
    optimizer, random = torch.optim.Adam([table]), np.random.default_rng(0)
    for iteration in tqdm(range(iterations), "steps", disable=None):
        some, weight = samples[iteration % len(samples)], weights[iteration % len(samples)]
        batch = some.of(random.choice(len(some.y), min(BATCH, len(some.y)), replace=False))
        log_step = torch.tensor([1, some.t, some.t**2]) @ table
        bits, error = objective.terms(batch, log_step)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1, 2 * (1 - iteration / iterations))
        optimizer.zero_grad()
        ((weight * error + bits) * 2**-some.t).backward()
        optimizer.step()
    return table.detach().double().numpy()


def with_table(decoder: ModelFile, table: np.ndarray) -> ModelFile:
    """The decoder with another table of quantization steps, (3, K)."""
    old = decoder.coder
    weights = old.entropy_model.weights | {LOG_STEP + TUNE: exact.freeze(table).astype(np.float16)}
    model = entropy_model.EntropyModel(old.entropy_model.slices, weights)
    return dataclasses.replace(decoder, coder=LatentCoder(model, old.kind, old.bank))


def for_decoder(encoder: ModelFile, decoder: ModelFile) -> ModelFile:
    """The encoder for a decoder that differs in quantization steps alone."""
    coder = decoder.coder.tuned(encoder.tune)
    return dataclasses.replace(encoder, coder=coder, decoder_id=decoder.id)


def crops_of(paths: list[str], count: int) -> torch.Tensor:
    """A crop, (count, 3, SIDE, SIDE) in [0, 1], of each of the first images; raises UserError and OSError."""
    images, random = data.load_images(paths, SIDE)[:count], np.random.default_rng(1)
    corners = [[random.integers(0, side - SIDE + 1) for side in image.shape[:2]] for image in images]
    parts = [image[y : y + SIDE, x : x + SIDE] for image, (y, x) in zip(images, corners)]
    return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).float() / 255


def main():
    args = parse_args()
    prepare_torch(seed=0)
    files = {name: ModelFile.load(os.path.join(args.pair, name), "encoder") for name in NAMES}
    decoder = ModelFile.load(os.path.join(args.pair, "decoder.model"), "decoder")
    networks, _ = start.networks_of_pair(args.pair, NAMES[1])
    crops = crops_of(args.val, args.images)
    samples = [sample(networks, crops, t) for t in tqdm(RATES, "coding", disable=None)]
    table = learn(Objective(networks.synthesis, args.share), samples, args.iterations)
    decoder = with_table(decoder, table)
    decoder.save(os.path.join(args.output_dir, "decoder.model"))
    for name, file in files.items():
        for_decoder(file, decoder).save(os.path.join(args.output_dir, name))
    cli.tell(f"wrote {', '.join(['decoder.model', *files])} to {args.output_dir}")


if __name__ == "__main__":
    cli.run(main)
