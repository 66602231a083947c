"""Give the program hostile files, and see that each makes a picture or one line of error.

PYTHONPATH=.:tests python3 -m fuzz --seconds=60
PYTHONPATH=.:tests python3 -m fuzz --inputs=100000 --seed=1 --jobs=2
PYTHONPATH=.:tests python3 -m fuzz --only=4711

Files are damaged golden files, models and images. The numbers of a seed and of an input make it again. What
fails is kept.
"""

import argparse
import collections
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import connection

from fuzz import originals, targets, worker

CHUNK = 500  # inputs of a process
KEPT = "fuzz_failures"  # the folder of inputs that fail


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, help="begin no input after so many seconds")
    parser.add_argument(
        "--inputs", type=int, default=10**9, help="how many (default: as many as time allows)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--only", type=int, metavar="N", help="write input N to a file and use it alone")
    args = parser.parse_args()
    if args.seconds is None and args.inputs == 10**9 and args.only is None:
        parser.error("one of --seconds, --inputs and --only is needed")
    return args


class Report:
    """What came of all inputs so far."""

    def __init__(self, seed: int):
        self._seed, self._began = seed, time.monotonic()
        self._outcomes, self.failures = collections.Counter(), 0
        self._slowest, self._peak = (0.0, None), 0

    def add(self, number: int, name: str, outcome: str, seconds: float, peak: int) -> None:
        """Count an input; keeps it where it failed."""
        self._slowest, self._peak = max(self._slowest, (seconds, number)), max(self._peak, peak)
        if outcome.startswith("FAILURE"):
            self.failures += 1
            print(f"input {number}, {name}: {outcome}; kept in {keep(self._seed, number)}", flush=True)
        self._outcomes["failures" if outcome.startswith("FAILURE") else outcome] += 1

    def line(self) -> str:
        """The summary."""
        counts = dict(self._outcomes)
        pictures, failures = counts.pop("picture", 0), counts.pop("failures", 0)
        errors = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        took = time.monotonic() - self._began
        seconds, number = self._slowest
        return (
            f"{self._outcomes.total()} inputs in {took:.0f} s: {pictures} pictures, "
            f"{sum(counts.values())} errors of one line ({errors}), "
            f"slowest {seconds:.2f} s (input {number}), "
            f"peak memory {self._peak / 2**20:.0f} MiB, {failures} failures"
        )


def keep(seed: int, number: int) -> str:
    """Write an input to a file, whose path is returned."""
    target, data = targets.make(seed, number)
    os.makedirs(KEPT, exist_ok=True)
    path = os.path.join(KEPT, f"{seed}_{number}_{target.__name__}")
    with open(path, "wb") as file:
        file.write(data)
    return path


class Workers:
    """The processes; each has a range of numbers."""

    def __init__(self, args: argparse.Namespace, report: Report):
        self._args, self._report = args, report
        self._end = time.monotonic() + args.seconds if args.seconds is not None else None
        self._next, self._running = 0, {}  # connection -> (process, numbers that are left)

    def run(self) -> None:
        """Until all is done."""
        for _ in range(self._args.jobs):
            self._start_next()
        while self._running:
            for end in connection.wait(list(self._running)):
                self._hear(end)

    def _is_over(self):
        return self._end is not None and time.monotonic() >= self._end

    def _start_next(self):
        numbers = range(self._next, min(self._next + CHUNK, self._args.inputs))
        self._next = numbers.stop
        self._start(numbers)

    def _start(self, numbers):
        if not numbers or self._is_over():
            return
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(
            target=worker.work, args=(theirs, self._args.seed, numbers)
        )
        process.start()
        theirs.close()
        self._running[ours] = process, numbers

    def _hear(self, end):
        process, numbers = self._running.pop(end)
        try:
            message = end.recv()
        except EOFError:
            process.join()
            self._ended(process.exitcode, numbers)
            return
        self._report.add(*message)
        if self._is_over():
            process.kill()
            process.join()
        else:
            self._running[end] = process, numbers[1:]

    def _ended(self, code, numbers):
        """After the last of its numbers, or in the middle of one, which is left out."""
        if not numbers:
            self._start_next()
            return
        why = {-signal.SIGPROF: "hangs", -signal.SIGALRM: "hangs"}.get(code, f"crashes with exit code {code}")
        target, _ = targets.make(self._args.seed, numbers[0])
        self._report.add(numbers[0], target.__name__, f"FAILURE: {why}", 0.0, 0)
        if numbers[1:]:
            self._start(numbers[1:])
        else:
            self._start_next()


def main():
    args = parse_args()
    if args.only is not None:
        path = keep(args.seed, args.only)
        target, data = targets.make(args.seed, args.only)
        print(f"{path}: {len(data)} bytes", flush=True)
        target.use(data)
        return
    originals.images(), originals.encoded(), originals.models()  # once, for all processes
    report = Report(args.seed)
    Workers(args, report).run()
    print(report.line())
    sys.exit(report.failures > 0)


if __name__ == "__main__":
    main()
