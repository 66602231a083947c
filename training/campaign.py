"""The long training: one stage of `stages.py` after the other, and a table of how it went.

    python3 -m training.campaign --data photos/ --val held_out/ --output_dir runs/campaign
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m training.campaign --data photos/ --val held_out/
    python3 -m training.campaign --data photos/ --val held_out/ --first larger --earlier docs/campaign.csv

Ctrl-C ends it, and the same command goes on, bit for bit. campaign.csv in --output_dir has a row for each
validation, with the hours and the crops of the whole campaign so far; campaign.png is its picture. Where it
stops, the weights also go to the folder --carried, in 8 bits. On a machine without its checkpoints the
campaign goes on from there, or without them from the shipped weights with the stage --first; --earlier is the
table to go on with.
"""

import argparse
import os
import shutil
import sys

import cli
from coding.errors import UserError
from coding.files import replacing
from training import carried
from training.carried import Carried
from training.loop import train
from training.progress import draw, read_table, table, write
from training.run import Diverged, read_checkpoint
from training.settings import Settings
from training.stages import STAGES, Stage
from training.workers import Workers

TABLE, PICTURE = "campaign.csv", "campaign.png"
CARRIED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "carried")
RUN_FILES = ("log.csv", "best.pt", "last.pt")  # of a run that another stage goes on with


def parse_args() -> argparse.Namespace:
    """The options."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="campaign.py", description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--data", nargs="+", required=True, help="folders and tar files of training images")
    add("--val", nargs="+", required=True, help="folders and tar files of images to measure on")
    text = "a folder for the stages (default: runs/campaign)"
    add("--output_dir", default=os.path.join("runs", "campaign"), help=text)
    text = "where the weights are kept that go from machine to machine (default: training/carried)"
    add("--carried", metavar="FOLDER", default=CARRIED, help=text)
    text = "the stage to begin with where nothing was carried (default: the first)"
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
    os.makedirs(settings.output_dir, exist_ok=True)
    for name in RUN_FILES:
        with replacing(settings.path(name)) as temporary:
            shutil.copyfile(os.path.join(settings.start_from, name), temporary)


def run(
    stages: list[Stage], output_dir: str, shared: dict, workers: Workers, start: Carried | None = None
) -> Stage | None:
    """Do what is left of the stages; start: what the first may go on from. Returns the stage in which there
    was an interrupt, if any."""
    for stage in stages:
        settings = settings_of(stage, output_dir, shared)
        if os.path.exists(settings.path("encoder.model")):  # which a run writes last
            continue
        if stage.continues and workers.first and not os.path.exists(settings.path("last.pt")):
            take_over(settings)
        workers.wait()
        if not train(settings, workers, start if start and start.stage == stage.name else None):
            return stage
        workers.wait()  # for the pair that the next stage starts from
    return None


def carried_so_far(folder: str, first: bool) -> Carried | None:
    """What was carried in a folder; the first process tells in a line why it cannot be used, if so."""
    try:
        start = carried.load(folder)
        if start and start.stage not in [stage.name for stage in STAGES if carried.can_be_carried(stage)]:
            raise UserError(f"{folder}: a carried state of a stage that there is not")
        return start
    except UserError as error:
        if first:
            cli.warn(f"{error}; the shipped weights are the start")
        return None


def carry(stage: Stage, settings: Settings, folder: str):
    """Write to a folder what is carried of a stage that stopped, if anything; raises OSError."""
    checkpoint = read_checkpoint(settings) if carried.can_be_carried(stage) else None
    if checkpoint:
        carried.save(folder, stage.name, checkpoint)


def main():
    args = parse_args()
    path = os.path.join(args.output_dir, TABLE)
    if args.earlier and os.path.realpath(args.earlier) == os.path.realpath(path):
        raise UserError(f"{path}: --earlier is the table of --output_dir; choose another folder")
    earlier = read_table(args.earlier) if args.earlier else []
    marked = read_table(path) if os.path.exists(path) else []
    workers = Workers(cli.pick_device("auto"))
    start = carried_so_far(args.carried, workers.first)
    stages = stages_from(start.stage if start else args.first)
    shared = {"data": args.data, "val": args.val, "precision": args.precision}
    stopped = diverged = None
    try:
        stopped = run(stages, args.output_dir, shared, workers, start)
    except Diverged as error:
        diverged = error.with_traceback(None)  # whose frames would hold the networks beyond `close`
    if workers.first:
        rows = table(stages, args.output_dir, earlier, marked)
        write(rows, path)
        if rows:
            draw(rows, os.path.join(args.output_dir, PICTURE))
        if stopped:
            carry(stopped, settings_of(stopped, args.output_dir, shared), args.carried)
    workers.wait()  # torchrun ends all when one is gone
    workers.close()
    if diverged:
        if workers.first:
            raise diverged
        sys.exit(1)  # the first process tells it
    if stopped:
        print("campaign.py: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    cli.run(main)
