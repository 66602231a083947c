"""Compare settings of training: a run for each from the same start, for the same time, and a table of all.

    python3 -m training.trials --data photos/ --val held_out/ --quantize_mode variable \\
        --start_from models/model_variable --minutes 20 lr=5e-4 lr=1e-3 lr=1e-3,batch_size=16

A trial is named by the options of train.py that it sets. Its run goes to a folder of that name in
--output_dir. Loss, bits per pixel and PSNR are those of the averaged weights on --val, at each whole rate of
the mode. To compare changes of the code, run it from two checkouts, with nothing set (the trial "-").
"""

import argparse
import csv
import dataclasses
import os
from collections.abc import Iterator

import torch

import cli
from coding.config import ModelConfig
from coding.errors import UserError
from training import data
from training.loop import train
from training.loss import Networks, RateDistortion, at_rate, distortion, evaluate, psnr, whole_rates
from training.run import Diverged
from training.settings import MULTIPLE, Settings
from training.workers import Workers

NOTHING = "-"  # the trial that sets nothing
FIXED = ("data", "quantize_mode", "resume", "dry_run")  # fields of Settings that no trial sets


def parse_args() -> list[Settings]:
    """The settings of each trial, with its name as the last part of `output_dir`."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="trials.py", description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("trials", nargs="+", metavar="TRIAL", help="settings and their values, such as lr=1e-3,crop=192")
    add("--data", nargs="+", required=True, help="folders and tar files of training images")
    add("--val", nargs="+", required=True, help="folders and tar files of images to measure on")
    add("--quantize_mode", required=True, help="variable, hard or soft")
    add("--output_dir", default="runs/trials", help="a folder for the runs (default: runs/trials)")
    add("--start_from", help="folder of the trained pair that all start from")
    add("--minutes", type=float, default=20, help="of each trial (default: 20)")
    options = vars(parser.parse_args())
    trials, output_dir = options.pop("trials"), options.pop("output_dir")
    try:
        return [
            Settings(**options | parse_trial(name), output_dir=os.path.join(output_dir, name))
            for name in trials
        ]
    except cli.UserError as error:
        parser.error(str(error))


def parse_trial(text: str) -> dict:
    """Fields of Settings in a text such as "lr=1e-3,crop=192"; raises UserError for what is none."""
    fields = [field for field in dataclasses.fields(Settings) if field.name not in FIXED]
    kinds = {field.name: type(field.default) for field in fields if field.default is not None}
    values = {}
    for part in text.split(",") if text != NOTHING else []:
        name, _, value = part.partition("=")
        if name not in kinds:
            raise UserError(f"{part}: no trial can set this")
        try:
            values[name] = kinds[name](value)
        except ValueError as error:
            raise UserError(f"{part}: not a number") from error
    return values


def row_of(settings: Settings, workers: Workers) -> dict:
    """What a finished run gives."""
    saved = torch.load(settings.path("best.pt"), map_location="cpu", weights_only=True)
    best = RateDistortion(Networks.untrained(ModelConfig(**saved["config"])), tune=settings.tune)
    best.load_state_dict(saved["model"])
    best.to(workers.device)
    images = data.load_images(settings.val, MULTIPLE)
    bpp, decibels = evaluate(best, images, workers.device)
    with open(settings.path("log.csv"), newline="") as file:
        last = list(csv.DictReader(file))[-1]
    row = {
        "trial": os.path.basename(settings.output_dir),
        "steps": int(last["step"]),
        "s a step": f"{60 * float(last['minutes']) / int(last['step']):.3f}",
        "loss": f"{distortion(10 ** (-decibels / 10), settings.lambda_) + bpp:.4f}",
    }
    for rate in whole_rates(best.config.mode):
        bpps, mses = zip(*at_rate(best, images, rate, workers.device))
        name = f" t={rate}" if not best.config.mode.is_fixed else ""
        row[f"bpp{name}"] = f"{sum(bpps) / len(bpps):.4f}"
        row[f"PSNR{name}"] = f"{psnr(sum(mses) / len(mses)):.2f}"
    return row


def rows(trials: list[Settings], workers: Workers) -> Iterator[dict]:
    """The row of each trial that comes to its end, in the first process."""
    for settings in trials:
        try:
            if not train(settings, workers):
                return
        except Diverged as error:
            if workers.first:
                cli.warn(f"{os.path.basename(settings.output_dir)}: {error}")
            continue
        if workers.first:
            yield row_of(settings, workers)


def main():
    trials, workers = parse_args(), Workers(cli.pick_device("auto"))
    try:
        for number, row in enumerate(rows(trials, workers)):
            if number == 0:
                print("|", " | ".join(row), "|")
                print("|", " | ".join("---" for _ in row), "|")
            print("|", " | ".join(map(str, row.values())), "|", flush=True)
    finally:
        workers.close()


if __name__ == "__main__":
    cli.run(main)
