"""Measure speed and memory: the coder, whole codecs, the scripts, and where their time goes.

    python3 bench.py
    python3 bench.py --only coder stages
    python3 bench.py --read resources/analytics
    python3 bench.py --sizes 0.25 2 --repeats 5 --against jpeg jxl --output_dir results/

Prints one table and which goals are met. Each time is the median of its runs, with the least and the most; a
ratio is that of two times of the same run. Takes about half an hour on two cores.
"""

import argparse
import os

import cli

PARTS = ["coder", "codecs", "commands", "stages"]
CODECS = ["jpeg", "webp", "avif", "jxl", "bmshj2018-factorized", "mbt2018-mean", "mbt2018"]
OUTPUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "resources", "analytics")


def parse_args():
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    text = "of the pictures of whole codecs, in megapixels (default: 0.25 2 24)"
    add("--sizes", nargs="+", type=float, default=[0.25, 2, 24], metavar="MP", help=text)
    add("--repeats", type=int, default=3, metavar="N", help="runs of everything (default: 3)")
    text = "codecs to compare with (default: all that are installed)"
    add(
        "--against",
        nargs="*",
        choices=CODECS,
        default=CODECS,
        metavar="CODEC",
        help=text + ": " + ", ".join(CODECS),
    )
    add("--only", nargs="+", choices=PARTS, help="parts to measure (default: all)")
    text = "seconds that another codec may take for a picture; larger ones are left out (default: 60)"
    add("--limit", type=float, default=60, metavar="S", help=text)
    text = "folder for bench.json and bench.png (default: resources/analytics, or with --only none)"
    add("--output_dir", metavar="DIR", help=text)
    add("--read", metavar="DIR", help="show the bench.json of this folder, and measure nothing")
    add("--markdown", action="store_true", help="print the table as docs/results.md has it")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    if not all(0 < size <= 80 for size in args.sizes):
        parser.error("--sizes must be above 0 and at most 80")
    if args.output_dir is None and not args.only and not args.read:
        args.output_dir = OUTPUT
    return args


def measure(args):
    """The results, which are written where that is asked for."""
    from evaluation.bench import chart, run

    if args.output_dir:  # before the long work, since it can fail
        os.makedirs(args.output_dir, exist_ok=True)
    found = run.run(run.Plan(args.sizes, args.repeats, args.against, args.limit, args.only or PARTS))
    if args.output_dir:
        run.write(found, args.output_dir)
        chart.write(found, args.output_dir)
    return found


def main():
    args = parse_args()
    from evaluation.bench import run, table

    table.show(run.read(args.read) if args.read else measure(args), args.markdown)


if __name__ == "__main__":
    cli.run(main)
