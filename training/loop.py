"""The training loop.

The rate of the loss sees latents with noise, the decoder sees them rounded. An average of the weights is
measured and exported.
"""

import contextlib
import math
import os
import sys
import time

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from networks.precision import has_bfloat16
from training import data, drawn
from training.carried import Carried
from training.export import export, keep_decoder
from training.log import Bar, Interval, RunLog
from training.loss import distortion, means, measure
from training.optimizer import Optimizer
from training.run import Diverged, Run, read_checkpoint
from training.settings import MULTIPLE, Settings
from training.workers import Interrupt, Workers

STEPS_OF_BAR = 20  # between the numbers on the terminal, and that they are means of


def train(settings: Settings, workers: Workers, carried: Carried | None = None) -> bool:
    """Train as `settings` say, and export the models; returns whether the run came to its end.

    carried: a run of this stage from another machine, which goes on where it is further than the one here

    A run that is interrupted finishes its step and writes last.pt. Raises Diverged for one whose loss is not
    finite, coding.errors.UserError for what else the user can mend, and OSError.
    """
    saved = read_checkpoint(settings)
    prepare_torch(settings.seed)
    images = data.load_images(settings.data, settings.crop, settings.image_limit)
    held_out = data.load_images(settings.val, MULTIPLE, settings.image_limit) if settings.val else []
    pictures = drawn.drawn_pictures(images, np.random.default_rng(settings.seed))
    crops = data.Crops(images + pictures, settings.crop, workers.device)
    if carried and carried.step > (saved["step"] if saved else -1):
        run = Run.carry_on(settings, carried, workers.device)
    elif saved:
        run = Run.restore(settings, saved, workers.device)
    else:
        run = Run.begin(settings, crops, workers.device)
        if workers.first and settings.part == "encoder":
            keep_decoder(settings)
    log = RunLog(settings.output_dir, run.step) if workers.first else None
    if run.moments_since == run.step:
        row = validate(run, held_out, workers)
        if workers.first:
            log.write(run.step, row)
    with Interrupt() as interrupt:
        finished = take_steps(run, crops, held_out, log, workers, interrupt)
    if workers.first and finished:
        log.draw(settings.path("curve.png"))
        export(run.best_model(), images, settings)
    return finished


def take_steps(
    run: Run,
    crops: data.Crops,
    held_out: list[np.ndarray],
    log: RunLog | None,
    workers: Workers,
    interrupt: Interrupt,
) -> bool:
    """Train to the limit of the run, or until there is an interrupt; returns whether there was none.

    crops: to train on; held_out: images uint8 (H, W, 3) to measure on; log: of the first process.
    Raises Diverged.
    """
    settings, network = run.settings, workers.wrap(run.model)
    bfloat16 = uses_bfloat16(settings.precision, workers.device)
    batch = settings.batch_size * workers.count
    bar, interval = Bar(run.step * batch, workers.first), Interval(run.step, run.elapsed)
    interrupted, progress, clock = False, run.progress, time.monotonic()
    while progress < 1 and not interrupted:
        x = draw(crops, settings, run.step, workers.rank)  # (N, 3, crop, crop)
        run.set_learning_rate(progress)
        bpp, mse = train_step(network, run.optimizer, x, settings.lambda_, bfloat16)
        interval.add(bpp, mse)
        now = time.monotonic()
        run.advance(now - clock)
        clock = now

        progress, interrupted = workers.most(run.progress, interrupt.came)
        due = run.step % settings.val_every == 0 or progress >= 1
        bar.update(run.step * batch, progress)
        if due or interrupted or len(interval) % STEPS_OF_BAR == 0:
            latest = interval.means(STEPS_OF_BAR)  # for which alone the device is waited for
            is_good = math.isfinite(sum(latest)) and (
                not (due or interrupted) or can_be_saved(run, x, bfloat16)
            )
            if workers.most(not is_good)[0]:
                bar.close()
                raise Diverged(run)
            bar.tell(*latest)
        if due:
            row = validate(run, held_out, workers)
            if workers.first:
                log.write(run.step, interval.row(run.step, run.elapsed, batch, settings.lambda_) | row)
        if (due or interrupted) and workers.first:
            run.save()
        if due:
            interval = Interval(run.step, run.elapsed)
    bar.close()
    return not interrupted


@torch.no_grad()
def can_be_saved(run: Run, x: torch.Tensor, bfloat16: bool) -> bool:
    """Whether all that a step has changed is finite, and so will be the loss of pixels x (N, 3, H, W)."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
        terms = run.model(x)
    return run.is_finite() and bool(torch.stack(terms).isfinite().all())


def prepare_torch(seed: int):
    """Let PyTorch compute the same in every run, from random numbers of `seed`."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's sums have no fixed order
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A help for debugging that costs 5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(seed)


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether the networks compute in bfloat16, for the setting "auto", "float32" or "bfloat16"."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def draw(crops: data.Crops, settings: Settings, step: int, rank: int) -> torch.Tensor:
    """The crops (N, 3, crop, crop) of a step in the process `rank`; the noise of the step is seeded too.

    Each step has a seed of its own, so that a resumed run sees the same crops and noise.
    """
    seed = [settings.seed, step, rank]
    torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    return crops.sample(settings.batch_size, np.random.default_rng(seed))


def train_step(
    network: nn.Module,
    optimizer: Optimizer,
    x: torch.Tensor,
    lambda_: float,
    bfloat16: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step; returns bits per pixel and mean squared error before it, both scalars without gradient.

    network: a RateDistortion or a DistributedDataParallel of one
    optimizer: of its parameters, at its learning rate
    x: pixels (N, 3, crop, crop) in [0, 1]
    lambda_: weight of the distortion
    bfloat16: whether the networks compute in it
    """
    network.train()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
        bpp, mse, clipped = network(x)
        loss = distortion(mse, lambda_) + bpp + clipped
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return bpp.detach(), mse.detach()


def validate(run: Run, held_out: list[np.ndarray], workers: Workers) -> dict[str, float]:
    """Measure the average of the weights, and keep it in best.pt if it is the best after a step.

    run: the run, whose `best` follows in the first process
    held_out: images uint8 (H, W, 3), or none, of which each process measures its share

    Returns fields of the log.
    """
    row = {"minutes": run.elapsed / 60, "learning_rate": run.optimizer.groups[0]["lr"]}
    if not held_out:
        return row
    share = held_out[workers.rank :: workers.count]
    measured = workers.gather(measure(run.average.module, share, workers.device))
    bpp, psnr = means(run.model.config.mode, measured)
    loss = distortion(10 ** (-psnr / 10), run.settings.lambda_) + bpp
    if workers.first:
        with contextlib.suppress(OSError):  # a terminal that has gone ends no run
            tqdm.write(f"step {run.step}: val {bpp:.4f} bpp {psnr:.3f} dB, loss {loss:.4f}")
            sys.stdout.flush()
        if run.step and loss < run.best:
            run.save_best(loss)
    return row | {"val_bpp": bpp, "val_psnr": psnr, "val_loss": loss}
