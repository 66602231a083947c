"""Measure the codec on images: real files, decoded again, beside the codecs that people use.

    python3 evaluate.py resources/test_images
    python3 evaluate.py resources/test_images --report report/
    python3 evaluate.py kodak/ --modes variable --blind blind/
    python3 evaluate.py photo.png kodak/ --modes variable --against jpeg avif --output results/

Prints the means of each mode and setting, and how many bytes variable mode needs more or less than the
others, over all and over ranges of the metrics. --output keeps everything, with charts. --report makes a
page to look at, --blind one that asks which of two files of about equal bytes is nearer to the original and
does not name them.
"""

import argparse
import os

import cli
from coding import modes
from coding.errors import UserError

MODES, TUNES = list(modes.MODES), list(modes.TUNES)
CODECS = ["jpeg", "webp", "avif", "avif-psnr", "jpeg2000", "jxl"]
SLOW = ["avif-slow", "avif-psnr-slow"]


def parse_args():
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="image files, and folders of them")
    add("--modes", nargs="+", choices=MODES, default=MODES, help="modes to measure (default: all)")
    text = "steps of search, in turn (default: 0)"
    add("--effort", nargs="+", type=int, default=[0], metavar="N", help=text)
    text = "of the encoders, in turn (default: that of encode.py, which is eye for variable mode)"
    add("--tunes", nargs="+", choices=TUNES, default=(), help=text)
    text = "of variable mode, in turn (default: 1 to 10, all whole ones)"
    add("--qualities", nargs="+", type=float, default=range(1, 11), metavar="Q", help=text)
    text = "codecs to compare with (default: all but the slow)"
    add("--against", nargs="*", type=str.lower, choices=CODECS + SLOW, default=CODECS, help=text)
    text = "take the other codecs' results over from results.json in this folder, and measure ours alone"
    add("--others_from", metavar="DIR", help=text)
    add("--output", metavar="DIR", help="write results.json, results.csv, bd_rates.csv and charts here")
    add("--report", metavar="DIR", help="write a page to look at, index.html, and the results to this folder")
    text = "write a blind test of pictures for the eye, index.html, to this folder"
    add("--blind", metavar="DIR", help=text)
    add("--csv", metavar="PATH", help="write a row for each image, mode, tune, quality and effort here")
    add("--markdown", action="store_true", help="print the tables as docs/results.md has them")
    text = "images that are measured at the same time; the seconds are true with one (default: 1)"
    add("--jobs", type=int, default=1, metavar="N", help=text)
    text = "where the networks run (default: auto, a GPU if there is one)"
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help=text)
    args = parser.parse_args()
    if min(args.effort) < 0:
        parser.error("--effort must not be negative")
    if not all(1 <= quality <= 10 for quality in args.qualities):
        parser.error("--qualities must be from 1 to 10")
    if args.jobs < 1:
        parser.error("--jobs must be at least 1")
    if args.report and args.blind and os.path.realpath(args.report) == os.path.realpath(args.blind):
        parser.error("--report and --blind need folders of their own")
    if args.others_from and (args.report or args.blind):
        parser.error("--report and --blind show pictures of the other codecs, which --others_from has not")
    return args


def main():
    args = parse_args()
    from evaluation import blind, charts, images, measure, metrics, report, results, rivals, tables

    known = results.read(args.others_from) if args.others_from else None
    files, device = images.find(args.images), cli.pick_device(args.device)
    # Before the long work, since it can fail.
    for folder in filter(None, (args.output, args.report, args.blind)):
        os.makedirs(folder, exist_ok=True)
    trials = measure.trials(args.modes, args.qualities, args.effort, args.tunes)
    if not trials:
        raise UserError("none of the modes has a model for the tunes")
    shown = measure.to_be_shown(trials) if args.report or args.blind else []
    against = [] if known else rivals.available(args.against)
    if args.blind and not against:
        raise UserError("--blind needs a codec to compare with")
    plan = measure.Plan(trials, against, shown, device, metrics.installed())
    measured = measure.measure_all(files, plan, args.jobs)

    found = results.collect(measured, trials, known)
    tables.show_all(found, trials, args.markdown)
    if args.csv:
        results.write_csv([tables.text(row) for row in tables.our_rows(found, trials)], args.csv)
    if args.output:
        results.write(found, args.output)
        charts.draw(found, args.output)
    if args.report:
        results.write(found, args.report)
        report.write(found, measured, args.report)
    if args.blind:
        blind.write(measured, args.blind)


if __name__ == "__main__":
    cli.run(main)
