"""Train the encoder and the decoder of one mode, and export their two `.model` files.

    python3 train.py --data photos/ more.tar --val held_out/ --quantize_mode=soft --minutes 60
    python3 train.py --data photos/ --val held_out/ --quantize_mode=soft --start_from models/model_variable
    python3 train.py --data photos/ --val held_out/ --quantize_mode=hard --start_from models/model_variable
    python3 train.py --data photos/ --quantize_mode=soft --dry-run
    python3 train.py --data photos/ --quantize_mode=variable --start_from models/model_variable --part=decoder
    torchrun --nproc-per-node 4 train.py --data photos/ --val held_out/ --quantize_mode=soft

The loss is lambda * 255^2 * error + bits per pixel. --output_dir gets last.pt and best.pt (checkpoints),
log.csv, TensorBoard events, curve.png, encoder.model and decoder.model. --resume goes on from last.pt, which
Ctrl-C writes too: with --steps as the only limit and on the same machine, bit for bit as if nothing had
happened. A run stops where its loss is not finite, and writes nothing of that.
"""

import argparse
import sys

import cli
from coding.modes import MODES, TUNES
from training.loop import train
from training.run import Diverged
from training.settings import PARTS, Settings
from training.workers import Workers


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The examples above as they are written, and the defaults that are given."""


def parse_args() -> tuple[Settings, str]:
    """The settings of the command line, and the --device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.argument_default = argparse.SUPPRESS  # an option without a default here has that of Settings
    add = parser.add_argument
    add("--data", nargs="+", required=True, help="folders and tar files of training images")
    add("--val", nargs="+", help="folders and tar files of images to measure on")
    add("--quantize_mode", choices=MODES, required=True, help="variable, or hard (B=2) or soft (B=10)")
    add("--lambda", dest="lambda_", type=float, help="weight of the distortion (default: the mode's)")
    add("--output_dir", help="where everything goes (default: runs/MODE, with --dry-run runs/dry-run)")
    add("--init", choices=["imagenet", "random"], default=Settings.init, help="the trunk at the start")
    text = (
        "folder of a trained encoder.model and decoder.model to start from instead: of the mode, for hard "
        "and soft also of variable"
    )
    add("--start_from", help=text)
    text = (
        "what is trained; encoder: analysis, whose decoder stays as it is; decoder: synthesis and entropy "
        "model, on rounded latents; entropy: that model"
    )
    add("--part", choices=PARTS, default=Settings.part, help=text)
    text = "what the distortion is: psnr, the squared error; eye, half of it what people see"
    add("--tune", choices=TUNES, default=Settings.tune, help=text)
    add("--steps", type=int, default=Settings.steps, help="steps of the optimizer at most")
    add("--minutes", type=float, default=Settings.minutes, help="minutes at most; the nearer limit counts")
    add("--batch_size", type=int, default=Settings.batch_size, help="crops a step in each process")
    add("--crop", type=int, default=Settings.crop, help="pixels a side, a multiple of 64")
    add("--lr", type=float, default=Settings.lr, help="peak learning rate")
    text = "share of the run, at its end, in which the learning rate falls to zero; before it is constant"
    add("--decay", type=float, default=Settings.decay, help=text)
    add("--val_every", type=int, default=Settings.val_every, help="steps between validations and checkpoints")
    add("--seed", type=int, default=Settings.seed, help="of crops, noise and random weights")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")
    precisions, text = (
        ["auto", "float32", "bfloat16"],
        "of the networks; auto: bfloat16 where the device computes in it, else float32",
    )
    add("--precision", choices=precisions, default=Settings.precision, help=text)
    add("--resume", action="store_true", help="go on from last.pt in --output_dir if it is there")
    add("--dry-run", action="store_true", help="two steps on a few images, to see whether all is in place")
    options = vars(parser.parse_args())
    device = options.pop("device")
    try:
        return Settings(**options), device
    except cli.UserError as error:
        parser.error(str(error))


def main():
    settings, device = parse_args()
    workers = Workers(cli.pick_device(device))
    try:
        finished = train(settings, workers)
    except Diverged:
        if workers.first:
            raise
        sys.exit(1)  # the first process tells it
    finally:
        workers.close()
    if not finished:
        print(f"train.py: interrupted; --resume goes on from {settings.path('last.pt')}", file=sys.stderr)
        sys.exit(130)
    if workers.first:
        cli.tell(f"wrote encoder.model and decoder.model to {settings.output_dir}")


if __name__ == "__main__":
    cli.run(main)
