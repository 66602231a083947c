"""Train the encoder and the decoder of one mode, and export their two `.model` files.

    python3 train.py --data photos/ more.tar --val held_out/ --quantize_mode=soft --minutes 60
    python3 train.py --data photos/ --val held_out/ --quantize_mode=hard --start_from models/model_B=10
    python3 train.py --data photos/ --quantize_mode=soft --dry-run
    python3 train.py --data photos/ --val held_out/ --quantize_mode=variable --start_from models/model_B=10
    torchrun --nproc-per-node 4 train.py --data photos/ --val held_out/ --quantize_mode=soft

The loss is lambda * 255^2 * MSE + bits per pixel. The rate sees the latent with noise, the decoder
sees it rounded. --output_dir gets last.pt and best.pt (checkpoints), log.csv, TensorBoard events,
curve.png, encoder.model and decoder.model. --resume goes on from last.pt: with --steps as the only
limit and on the same machine, bit for bit as if nothing had happened. Ctrl-C writes last.pt first.
"""

import argparse
import copy
import dataclasses
import io
import math
import os
import signal
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

import bitstream
import cli
import data
import exact
import latent_coder
import model
import quantize
import start
from loss import MULTIPLE, RateDistortion, distortion, evaluate, is_entropy_model, to_tensor
from runlog import RunLog

DRY_RUN = os.path.join("runs", "dry-run")  # the folder that may be overwritten


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = lambda name, help, **options: parser.add_argument(
        name, help=help + (" (default: %(default)s)" if options.get("default") is not None else ""), **options
    )
    add("--data", "folders and tar files of training images", nargs="+", required=True)
    add("--val", "folders and tar files of images to measure on", nargs="+", default=None)
    add(
        "--quantize_mode",
        "variable, or hard (B=2) or soft (B=10)",
        choices=list(quantize.BITS),
        required=True,
    )
    add(
        "--lambda",
        "weight of the distortion; default 0.0028 hard, 0.0067 soft, and variable at t=0",
        dest="lambda_",
        type=float,
    )
    add("--output_dir", "where everything goes; default runs/MODE, with --dry-run runs/dry-run")
    add(
        "--init",
        "trunk at the start: ImageNet weights from torchvision, or random",
        choices=["imagenet", "random"],
        default="imagenet",
    )
    add("--start_from", "folder of a trained encoder.model and decoder.model to start from instead")
    add(
        "--entropy_only",
        "train the entropy model alone, with the transforms as they are",
        action="store_true",
    )
    add("--steps", "optimiser steps at most", type=int, default=100_000)
    add(
        "--minutes",
        "minutes at most; the learning rate follows whichever limit is nearer",
        type=float,
        default=math.inf,
    )
    add("--batch_size", "crops a step in each process", type=int, default=8)
    add("--crop", f"pixels a side, a multiple of {MULTIPLE}", type=int, default=256)
    add("--lr", "peak learning rate", type=float, default=1e-3)
    add("--val_every", "steps between validations and checkpoints", type=int, default=500)
    add("--seed", "of crops, noise and random weights", type=int, default=0)
    add("--device", "auto, cpu or cuda", choices=["auto", "cpu", "cuda"], default="auto")
    add(
        "--precision",
        "of the networks: auto is bfloat16 on a GPU and float32 else; CPUs that have AVX512-BF16 or AMX "
        "are faster in bfloat16",
        choices=["auto", "float32", "bfloat16"],
        default="auto",
    )
    add("--resume", "go on from last.pt in --output_dir if it is there", action="store_true")
    add("--dry-run", "two steps on a few images, to see whether everything is in place", action="store_true")
    args = parser.parse_args(argv)
    if args.crop % MULTIPLE or args.crop <= 0:
        parser.error(f"--crop must be a multiple of {MULTIPLE}")
    if min(args.steps, args.minutes, args.batch_size, args.val_every) <= 0:
        parser.error("--steps, --minutes, --batch_size and --val_every must be positive")
    args.lambda_ = args.lambda_ or model.LAMBDA[args.quantize_mode]
    if args.dry_run and args.resume:
        parser.error("--dry-run goes on from nothing; leave --resume out")
    if args.dry_run:
        args.steps, args.batch_size = 2, 2
    args.output_dir = args.output_dir or (
        DRY_RUN if args.dry_run else os.path.join("runs", args.quantize_mode)
    )
    return args


def initial_model(args, pixels):
    """The loss.RateDistortion before the first step, fitted to crops `pixels` (N, 3, H, W)."""
    mode = args.quantize_mode
    config = model.VariableConfig() if mode == "variable" else model.ContextConfig(mode, quantize.BITS[mode])
    if args.start_from:
        encoder, decoder = (
            model.load(os.path.join(args.start_from, f"{kind}.model"), kind)
            for kind in ("encoder", "decoder")
        )
        if encoder.config.quantize_mode not in (mode, "soft"):
            raise cli.UserError(
                f"{args.start_from} holds a model for --quantize_mode={encoder.config.quantize_mode}"
            )
        if encoder.context is None:
            encoder, decoder = start.add_entropy_model(encoder, decoder, pixels)
        exact.thaw(encoder.context)  # loaded, it is frozen
        # Distortion at fine quantisation is in proportion to the square of the step.
        step = (encoder.lambda_ / args.lambda_) ** 0.5
        if mode == "variable" and encoder.config.quantize_mode == "soft":
            encoder, decoder = start.widen(
                encoder, decoder, config, pixels, step=(4e-4 / args.lambda_) ** 0.5
            )
    else:
        encoder, decoder = model.build("encoder", config), model.build("decoder", config)
        if args.init == "imagenet":
            start.load_imagenet(encoder)
        # The step at which a unit of rate and a unit of distortion trade at lambda, for fine quantisation.
        start.principal_components(encoder, decoder, pixels, step=(4e-4 / args.lambda_) ** 0.5)
        encoder.eval()
        start.set_scale(encoder, decoder, pixels)
        step = 1
    if mode == "hard" and not (args.start_from and encoder.config.quantize_mode == mode):
        encoder, decoder = start.coarsen(encoder, decoder, config, pixels, step)
    return RateDistortion(encoder, decoder, args.entropy_only)


def empty_model(config, entropy_only=False):
    """A loss.RateDistortion for weights to be loaded into; config: dict of a model.ContextConfig."""
    config = model.make_config(config)
    return RateDistortion(model.build("encoder", config), model.build("decoder", config), entropy_only)


def averaged(rate_distortion):
    """An exponential moving average of the weights, over some 1,000 steps and fewer at the start."""

    def average(mean, value, count):
        if not value.is_floating_point():
            return value
        return torch.lerp(value, mean, torch.clamp((1 + count) / (10 + count), max=0.999).to(value.dtype))

    return AveragedModel(rate_distortion, avg_fn=average, use_buffers=True)


def build_optimizer(rate_distortion, lr):
    """Adam with a peak rate for each part: linear paths have small weights that are already good."""
    groups = {"network": [], "linear": [], "entropy": []}
    for name, parameter in rate_distortion.named_parameters():
        if not parameter.requires_grad:
            continue
        part = name.split(".")
        groups[
            "linear" if part[1] == "linear" else "entropy" if is_entropy_model(name) else "network"
        ].append(parameter)
    peaks = {"network": lr, "linear": lr * 0.03, "entropy": lr}
    return torch.optim.Adam(
        [{"params": groups[name], "peak": peaks[name]} for name in groups if groups[name]], lr=lr
    )


def learning_rate(progress):
    """Share of the peak at `progress` in [0, 1]: a short linear warm-up, then half a cosine."""
    return min(1, progress / 0.03 + 0.01) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


def train_step(network, optimizer, x, lambda_, progress, frozen=False, bfloat16=False):
    """One step on pixels x (N, 3, crop, crop); returns bpp and MSE as tensors.

    network: a RateDistortion or a DistributedDataParallel of one; frozen: keep batch norm's statistics; bfloat16:
    compute the networks in it.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * learning_rate(progress)
    network.train()
    getattr(network, "module", network).encoder.train(not frozen)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
        bpp, mse, clipped = network(x)
        loss = distortion(mse, lambda_) + bpp + clipped
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    # Early gradients of the zero-initialised ends are large.
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups[:2] for p in group["params"]], 1.0)
    optimizer.step()
    return bpp.detach(), mse.detach()


def fit_bank(encoder, images):
    """The entropy.Bank for an encoder, counted on uint8 images (H, W, 3), in variable mode at rates that take turns."""
    context = exact.freeze(copy.deepcopy(encoder.context))
    coded = []
    for i, image in enumerate(images):
        t = 0.0 if context.on_grid else bitstream.rate(37 * i % (bitstream.RATE_STEPS + 1))
        z, b = latent_coder.latents_at(encoder, encoder.steps(to_tensor(image[:512, :512])), t)
        coded.append(latent_coder.symbols(context, z, b, t)[:2])
    return latent_coder.fit_bank(encoder.config, *map(np.concatenate, zip(*coded)))


def export(rate_distortion, images, lambda_, output_dir):
    """Fit the entropy coder's bank on uint8 images (H, W, 3) and write the two `.model` files.

    lambda_: of the training, which `encode.py --effort` goes by.
    """
    encoder, decoder = rate_distortion.encoder, rate_distortion.decoder
    # The bank belongs to the rounded weights that users will load.
    for module in encoder, decoder:
        module.cpu().eval().load_state_dict(
            {name: t.half().to(t.dtype) for name, t in module.state_dict().items()}
        )
    with torch.inference_mode():
        bank = fit_bank(encoder, tqdm(images, "fitting the bank", disable=None))
    encoder.bank = decoder.bank = {
        "lowest": torch.from_numpy(bank.lowest),
        "frequencies": torch.from_numpy(bank.frequencies),
    }
    exact.freeze(encoder.context)
    encoder.model_id = model.compute_id(decoder)
    encoder.lambda_ = lambda_
    model.save(encoder, os.path.join(output_dir, "encoder.model"))
    model.save(decoder, os.path.join(output_dir, "decoder.model"))


def save_checkpoint(path, state):
    """Write `state` to `path`, whole or not at all; raises cli.UserError where there is no room."""
    content = io.BytesIO()
    torch.save(state, content)
    try:
        with cli.replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(content.getbuffer())
    except OSError as error:
        raise cli.UserError(
            f"{path}: {error.strerror}; a checkpoint that was there before is whole"
        ) from error


class Workers:
    """The processes of `torchrun`, or this one alone: rank, their number, and the device of this one."""

    def __init__(self, device):
        device = cli.pick_device(device)
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = torch.device(device, int(os.environ.get("LOCAL_RANK", 0)) if device == "cuda" else None)
        if self.count > 1:
            if device == "cuda":
                torch.cuda.set_device(self.device)
            dist.init_process_group("nccl" if device == "cuda" else "gloo")

    def most(self, *values):
        """The largest of each value over all processes, so that they decide alike."""
        if self.count == 1:
            return values
        values = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return values.tolist()

    def wrap(self, rate_distortion):
        """The module to train: it averages gradients over all processes."""
        return DistributedDataParallel(rate_distortion) if self.count > 1 else rate_distortion

    def close(self):
        if self.count > 1:
            dist.destroy_process_group()


class Interrupt:
    """Notes Ctrl-C and a request to end, so that the step in progress is finished; the second ends at once."""

    def __init__(self):
        self.came = False
        for number in signal.SIGINT, signal.SIGTERM:
            signal.signal(number, self._note)

    def _note(self, number, frame):
        self.came = True
        signal.signal(number, signal.SIG_DFL)


def train(args, workers):
    """Train as `args` (of parse_args) say; returns False if it was interrupted."""
    first = workers.rank == 0
    path = lambda name: os.path.join(args.output_dir, name)
    resuming = args.resume and os.path.exists(path("last.pt"))
    if os.path.exists(path("last.pt")) and not (resuming or args.output_dir == DRY_RUN):
        raise cli.UserError(
            f"{path('last.pt')}: a run is there; add --resume, or choose another --output_dir"
        )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = (
        False  # a help for debugging that costs 5 % of a step
    )
    torch.manual_seed(args.seed)

    limit = 16 if args.dry_run else None
    images = data.load_images(args.data, args.crop, limit)
    held_out = data.load_images(args.val, MULTIPLE, limit) if args.val else []
    crops = data.Crops(images, args.crop, workers.device)
    frozen = bool(args.start_from)  # batch norm's statistics
    if resuming:
        saved = torch.load(path("last.pt"), map_location="cpu", weights_only=True)
        frozen = saved["frozen"]
        if saved["config"]["quantize_mode"] != args.quantize_mode:
            raise cli.UserError(f"{path('last.pt')} is of --quantize_mode={saved['config']['quantize_mode']}")
        if "slices" not in saved["config"]:
            raise cli.UserError(
                f"{path('last.pt')} is of an earlier version; --start_from can begin with its exported models"
            )
        rate_distortion = empty_model(saved["config"], args.entropy_only)
    else:
        pixels = crops.sample(8 if args.dry_run else 256, np.random.default_rng(args.seed)).cpu()
        rate_distortion = initial_model(args, pixels)
    rate_distortion.to(workers.device, memory_format=torch.channels_last)
    average = averaged(rate_distortion)
    optimizer = build_optimizer(rate_distortion, args.lr)
    step, elapsed, best = 0, 0.0, math.inf
    if resuming:
        rate_distortion.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        peaks = [group["peak"] for group in optimizer.param_groups]
        optimizer.load_state_dict(saved["optimizer"])
        for group, peak in zip(optimizer.param_groups, peaks):  # of this call's --lr
            group["peak"] = peak
        step, elapsed, best = saved["step"], saved["elapsed"], saved["best"]
    network = workers.wrap(rate_distortion)
    log = RunLog(args.output_dir, step) if first else None

    def validate(bpp=None, mse=None, crops_per_second=None):
        """Measure the average, keep it if it is the best, and tell; bpp and mse are those of training."""
        nonlocal best
        row = {"minutes": elapsed / 60, "learning_rate": optimizer.param_groups[0]["lr"]}
        if bpp is not None:
            row |= {
                "crops_per_second": crops_per_second,
                "bpp": bpp,
                "psnr": -10 * math.log10(mse),
                "loss": distortion(mse, args.lambda_) + bpp,
            }
        if held_out:
            val_bpp, val_psnr = evaluate(average.module, held_out, workers.device)
            val_loss = distortion(10 ** (-val_psnr / 10), args.lambda_) + val_bpp
            row |= {"val_bpp": val_bpp, "val_psnr": val_psnr, "val_loss": val_loss}
            tqdm.write(f"step {step}: val {val_bpp:.4f} bpp {val_psnr:.3f} dB, loss {val_loss:.4f}")
            if val_loss < best:
                best = val_loss
                save_checkpoint(path("best.pt"), {"config": config, "model": average.module.state_dict()})
        log.write(step, **row)

    def checkpoint():
        save_checkpoint(
            path("last.pt"),
            {
                "config": config,
                "frozen": frozen,
                "model": rate_distortion.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "elapsed": elapsed,
                "best": best,
            },
        )

    config = dataclasses.asdict(rate_distortion.encoder.config)
    if first and step == 0:
        validate()
    bfloat16 = args.precision == "bfloat16" or args.precision == "auto" and workers.device.type == "cuda"
    interrupt = Interrupt()
    bar = tqdm(initial=step * args.batch_size * workers.count, unit="crop", disable=None if first else True)
    sums, since, started = [], (step, elapsed), time.monotonic()
    progress, interrupted = max(step / args.steps, elapsed / 60 / args.minutes), False
    while progress < 1 and not interrupted:
        # Each step draws from a seed of its own, so that a resumed run sees the same crops and noise.
        seed = [args.seed, step, workers.rank]
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        x = crops.sample(args.batch_size, np.random.default_rng(seed))  # (N, 3, crop, crop)
        sums.append(train_step(network, optimizer, x, args.lambda_, progress, frozen, bfloat16))
        average.update_parameters(rate_distortion)

        step += 1
        now = time.monotonic()
        elapsed, started = elapsed + now - started, now
        progress, interrupted = workers.most(
            max(step / args.steps, elapsed / 60 / args.minutes), interrupt.came
        )
        batch = args.batch_size * workers.count
        bar.total = round(step * batch / progress)  # the time left follows whichever limit is nearer
        bar.update(batch)
        due = step % args.val_every == 0 or progress >= 1
        if due or len(sums) % 20 == 0:
            bpp, mse = (torch.stack(values[-20:]).mean().item() for values in zip(*sums))
            bar.set_postfix_str(f"{bpp:.3f} bpp {-10 * math.log10(mse):.2f} dB")
        if due and first:
            bpp, mse = (torch.stack(values).mean().item() for values in zip(*sums))
            validate(bpp, mse, (step - since[0]) * batch / (elapsed - since[1]))
        if (due or interrupted) and first:
            checkpoint()
        if due:
            sums, since = [], (step, elapsed)
    bar.close()
    if first and not interrupted:
        log.draw(path("curve.png"))
        if held_out:
            average.module.load_state_dict(
                torch.load(path("best.pt"), map_location=workers.device, weights_only=True)["model"]
            )
        export(average.module, images[:: max(1, len(images) // 400)], args.lambda_, args.output_dir)
        print(f"wrote encoder.model and decoder.model to {args.output_dir}")
    return not interrupted


def main():
    args = parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's sums have no fixed order
    workers = Workers(args.device)
    try:
        finished = train(args, workers)
    finally:
        workers.close()
    if not finished:
        print(
            f"{os.path.basename(sys.argv[0])}: interrupted; --resume goes on from {args.output_dir}/last.pt",
            file=sys.stderr,
        )
        sys.exit(130)


if __name__ == "__main__":
    cli.run(main)
