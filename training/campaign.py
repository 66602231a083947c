"""The long training: one stage of `stages.py` after the other, and a table of how it went.

    python3 -m training.campaign --data photos/ --val held_out/ --output_dir runs/campaign
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m training.campaign --data photos/ --val held_out/
    python3 -m training.campaign --data photos/ --val held_out/ --first steady_12h --earlier docs/campaign.csv

Ctrl-C ends it, and the same command goes on, bit for bit. campaign.csv in --output_dir has a row for each
validation, with the hours and the crops of the whole campaign so far. On a machine without its checkpoints
--first names the stage to begin with, from the shipped weights, and --earlier the table to go on with.
"""

import argparse
import csv
import os
import shutil
import sys

import cli
from coding.files import replacing
from training.loop import train
from training.run import Diverged
from training.settings import Settings
from training.stages import STAGES, Stage
from training.workers import Workers

TABLE = "campaign.csv"
RUN_FILES = ("log.csv", "best.pt", "last.pt")  # of a run that another stage goes on with
MEASURED = ("learning_rate", "val_bpp", "val_psnr", "val_loss")  # columns of both tables


def parse_args() -> argparse.Namespace:
    """The options."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="campaign.py", description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--data", nargs="+", required=True, help="folders and tar files of training images")
    add("--val", nargs="+", required=True, help="folders and tar files of images to measure on")
    text = "a folder for the stages (default: runs/campaign)"
    add("--output_dir", default=os.path.join("runs", "campaign"), help=text)
    text = "the stage to begin with, from the shipped weights (default: the first)"
    add("--first", choices=[stage.name for stage in STAGES], default=STAGES[0].name, help=text)
    add("--earlier", metavar="CSV", help="the table of the campaign before, whose hours go on")
    add("--precision", choices=["auto", "float32", "bfloat16"], default="auto", help="of the networks")
    return parser.parse_args()


def stages_from(first: str) -> list[Stage]:
    """The stages from one of a name on; what they would need of those before is the shipped pair."""
    rest = STAGES[[stage.name for stage in STAGES].index(first) :]
    names = {stage.name for stage in rest}
    return [stage if stage.before in names else Stage(stage.name, stage.settings) for stage in rest]


def settings_of(stage: Stage, output_dir: str, shared: dict) -> Settings:
    """The settings of its run; shared: fields that all stages have."""
    folder, start = os.path.join(output_dir, stage.name), stage.start_from(output_dir)
    return Settings(**shared, **stage.settings, output_dir=folder, start_from=start, resume=True)


def take_over(settings: Settings):
    """Give the run in `start_from` to the folder of a stage that goes on with it; raises OSError."""
    if os.path.exists(settings.path("last.pt")):
        return
    os.makedirs(settings.output_dir, exist_ok=True)
    for name in RUN_FILES:
        with replacing(settings.path(name)) as temporary:
            shutil.copyfile(os.path.join(settings.start_from, name), temporary)


def run(stages: list[Stage], output_dir: str, shared: dict, workers: Workers) -> bool:
    """Do what is left of the stages; returns whether they came to their end."""
    for stage in stages:
        settings = settings_of(stage, output_dir, shared)
        if os.path.exists(settings.path("encoder.model")):  # which a run writes last
            continue
        if stage.continues and workers.first:
            take_over(settings)
        workers.wait()
        if not train(settings, workers):
            return False
        workers.wait()  # for the pair that the next stage starts from
    return True


def table(stages: list[Stage], output_dir: str, earlier: list[dict]) -> list[dict]:
    """Rows of all validations after the first step: those of `earlier`, and then those of the stages."""
    rows, logs = list(earlier), {}
    hours, crops = (float(rows[-1][name]) if rows else 0.0 for name in ("hours", "crops"))
    for stage in stages:
        path = os.path.join(output_dir, stage.name, "log.csv")
        if not os.path.exists(path):
            break
        log = logs[stage.name] = read(path)
        first = len(logs[stage.before]) if stage.continues else 1
        for last, row in zip(log[first - 1 :], log[first:]):
            minutes = float(row["minutes"]) - float(last["minutes"])
            hours += minutes / 60
            crops += 60 * minutes * float(row["crops_per_second"])
            counts = {"step": row["step"], "hours": f"{hours:.3f}", "crops": f"{crops:.0f}"}
            rows.append({"stage": stage.name} | counts | {name: row[name] for name in MEASURED})
    return rows


def read(path: str) -> list[dict]:
    """The rows of a table; raises OSError."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict], path: str):
    """Write the table; raises OSError."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ["stage", "step", "hours", "crops", *MEASURED])
        writer.writeheader()
        writer.writerows(rows)


def main():
    args, workers = parse_args(), Workers(cli.pick_device("auto"))
    stages = stages_from(args.first)
    earlier = read(args.earlier) if args.earlier else []
    shared = {"data": args.data, "val": args.val, "precision": args.precision}
    try:
        finished = run(stages, args.output_dir, shared, workers)
    except Diverged:
        if workers.first:
            raise
        sys.exit(1)  # the first process tells it
    finally:
        if workers.first:
            write(table(stages, args.output_dir, earlier), os.path.join(args.output_dir, TABLE))
        workers.close()
    if not finished:
        print("campaign.py: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    cli.run(main)
