"""Measure the codec on images: real files, decoded again, beside the codecs that people use.

    python3 evaluate.py resources/test_images
    python3 evaluate.py resources/test_images --report report/
    python3 evaluate.py photo.png kodak/ --modes variable --qualities 1 3 5 7 9 --against jpeg avif --output results/

Prints the means of each mode and setting, and how many bytes variable mode needs more or less than the
others. --output keeps everything that was measured, with charts; --report makes a page to look at.
"""

import argparse
import collections
import contextlib
import functools
import os
import sys

import bitstream
import cli
import results
import tables

CODECS = ("jpeg", "webp", "avif", "jpeg2000", "jxl")
SHOWN = 3  # settings that a report has pictures of


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, and folders of them")
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=bitstream.MODES,
        default=list(bitstream.MODES),
        help="modes to measure (default: all)",
    )
    parser.add_argument(
        "--effort",
        nargs="+",
        type=int,
        default=[0],
        metavar="N",
        help="steps of refinement, each measured in turn (default: 0)",
    )
    parser.add_argument(
        "--qualities",
        nargs="+",
        type=float,
        default=[1, 3, 5, 7, 9],
        metavar="Q",
        help="of variable mode, each measured in turn (default: 1 3 5 7 9)",
    )
    parser.add_argument(
        "--against",
        nargs="*",
        type=str.lower,
        choices=CODECS,
        default=list(CODECS),
        help="codecs to compare with (default: all)",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="write results.json, results.csv and charts to this folder"
    )
    parser.add_argument(
        "--report", metavar="DIR", help="write a page to look at, index.html, and the results to this folder"
    )
    parser.add_argument(
        "--csv", metavar="PATH", help="write a row for each image, mode, quality and effort here"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="images that are measured at the same time; the seconds are true with one (default: 1)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the networks run (default: auto, a GPU if there is one)",
    )
    args = parser.parse_args()
    if min(args.effort) < 0:
        parser.error("--effort must not be negative")
    if not all(1 <= quality <= 10 for quality in args.qualities):
        parser.error("--qualities must be from 1 to 10")
    if args.jobs < 1:
        parser.error("--jobs must be at least 1")
    return args


def find_images(paths):
    """Pairs of path and name: the files named in `paths`, and the images in its folders, in the order of their names.

    A file's name is its path where two have the same one.
    """
    from picture import EXTENSIONS

    files, empty = [], []
    for path in paths:
        found = [path]
        if os.path.isdir(path):
            found = [
                os.path.join(path, name)
                for name in sorted(os.listdir(path))
                if name.lower().endswith(EXTENSIONS)
            ]
        files += found
        empty += [] if found else [f"{path}: no images there"]
    if not files:
        raise cli.UserError(", ".join(empty))
    for line in empty:
        say(line)
    files = list(dict.fromkeys(files))
    count = collections.Counter(map(os.path.basename, files))
    return [(path, path if count[os.path.basename(path)] > 1 else os.path.basename(path)) for path in files]


def available(against):
    """Those of the codecs `against` that are installed, and whether LPIPS is; says what is not, in a line each."""
    import metrics
    import rivals

    found, lpips = [], True
    for name in dict.fromkeys(against):
        try:
            rivals.load(name)
            found.append(name)
        except metrics.Missing as error:
            say(f"without {rivals.CODECS[name].name}: {error}")
    try:
        metrics.load_lpips()
    except metrics.Missing as error:
        say(f"without LPIPS: {error}")
        lpips = False
    return found, lpips


def say(line):
    """Write a line to stderr, above the progress bar."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def measure_all(files, jobs, **options):
    """The measure.Measured of those pairs of path and name that can be measured; says of the others why not."""
    import measure
    from tqdm import tqdm

    call, measured = functools.partial(measure.measure, **options), []
    with contextlib.ExitStack() as stack:
        run = map
        if jobs > 1:
            import concurrent.futures
            import multiprocessing

            run = stack.enter_context(
                concurrent.futures.ProcessPoolExecutor(
                    jobs, multiprocessing.get_context("spawn"), start_worker, (jobs,)
                )
            ).map
        for outcome in tqdm(run(call, *zip(*files)), total=len(files), unit="image", disable=None):
            for note in outcome.notes:
                say(note)
            measured += [outcome] if outcome.rows else []
    if not measured:
        raise cli.UserError("none of the images could be measured")
    return measured


def start_worker(jobs):
    """Share the cores among `jobs` processes, and end without a word on Ctrl-C."""
    import signal
    import torch

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(max(1, os.cpu_count() // jobs))


def main():
    args = parse_args()
    import measure

    settings = list(
        dict.fromkeys(
            measure.Setting(mode, quality, effort)
            for mode in args.modes
            for quality in (args.qualities if mode == "variable" else [None])
            for effort in args.effort
        )
    )
    shown = (
        ([setting for setting in settings if setting.mode == "variable"] or settings)[:SHOWN]
        if args.report
        else []
    )
    files, device = find_images(args.images), cli.pick_device(args.device)
    for folder in args.output, args.report:
        if folder:  # before the long work, since it can fail
            os.makedirs(folder, exist_ok=True)
    against, lpips = available(args.against)
    measured = measure_all(
        files, args.jobs, settings=settings, against=against, shown=shown, device=device, lpips=lpips
    )
    found = results.collect(measured, settings)

    rows = tables.our_rows(found, settings)
    tables.show(tables.means(rows))
    if found["bd_rate"]:
        print("\nBD-rate: bytes for the same PSNR, in % more or less than the other codec's")
        tables.show(tables.bd_rates(found))
    if args.csv:
        results.write_csv([tables.text(row) for row in rows], args.csv)
    if args.output:
        import charts

        results.write(found, args.output)
        charts.draw(found, args.output)
    if args.report:
        import report

        results.write(found, args.report)
        report.write(found, measured, args.report)


if __name__ == "__main__":
    cli.run(main)
