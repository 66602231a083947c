"""Compress or restore folders and tar shards of images on a Ray cluster.

python3 bulk.py --input_path=photos/ --output_path=encoded/
python3 bulk.py --input_path=s3://bucket/shards --output_path=s3://bucket/encoded --address=auto --workers=80
python3 bulk.py --decode --input_path=encoded/ --output_path=restored/

Paths are local or any URL of fsspec. a.jpg becomes a.jpg.encoded, and that a.jpg.png. A tar shard, in
WebDataset's layout, becomes a shard of the same name; what is no image in it, or fails, stays in it as it
is. What is there already is skipped, and so are hidden files.
"""

import argparse
import os

import cli
from coding.modes import MODES, TUNES


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=cli.SCALE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--input_path", required=True, metavar="FOLDER", help="folder or URL of images or tar shards")
    add("--output_path", required=True, metavar="FOLDER", help="folder or URL, which mirrors the other")
    add("--decode", action="store_true", help="restore .encoded files instead")
    add("--quantize_mode", choices=MODES, default="variable", help="(default: variable)")
    add("--tune", choices=TUNES, help="eye or psnr, as of encode.py")
    cli.add_rate_options(parser.add_mutually_exclusive_group().add_argument)
    add("--address", metavar="ADDRESS", help="of the cluster, or auto (default: one on this machine)")
    workers = "actors, each with a model (default: one a CPU or GPU)"
    add("--workers", type=cli.positive, metavar="N", help=workers)
    add("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: a GPU for each worker (default: cpu)")
    args = parser.parse_args()
    cli.check_mode(parser, args)
    return args


def main():
    args = parse_args()
    from cluster import plan, pool

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker has one core
    names = (
        "input_path",
        "output_path",
        "decode",
        "quantize_mode",
        "tune",
        "quality",
        "target_bpp",
        "target_ssimulacra2",
        "lossless",
        "device",
    )
    task = plan.Task(**{name: getattr(args, name) for name in names})
    units, skipped = plan.units(task)
    done = list(pool.outcomes(task, units, args.address, args.workers)) if units else []
    before, after = sum(outcome.before for outcome in done), sum(outcome.after for outcome in done)
    cli.tell(f"{len(units)} files, {before} to {after} bytes; {skipped} were there already")
    failures = sorted(failure for outcome in done for failure in outcome.failures)
    for failure in failures:
        cli.warn(failure)
    if failures:
        raise cli.UserError(f"{len(failures)} failed")


if __name__ == "__main__":
    cli.run(main)
