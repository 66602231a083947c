"""Many files with one start-up: folders and patterns, for `encode.py` and `decode.py`.

The tree of the inputs is mirrored. What is there already is skipped, and outputs are written whole or not at
all, so that an interrupted run goes on where it stopped.
"""

import argparse
import concurrent.futures
import contextlib
import csv
import dataclasses
import glob
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import cli
from coding import files
from coding.errors import UserError, message_of


@dataclasses.dataclass(frozen=True)
class Job:
    """A file to make; name: of the source below the folder that was given."""

    name: str
    source: str
    target: str


@dataclasses.dataclass
class Outcome:
    """A row of the summary.

    bytes_before, bytes_after: sizes; bpp: bits per pixel; ssimulacra2: the score, where it was a target
    warning, error: a line or nothing
    """

    name: str
    bytes_before: int
    bytes_after: int = 0
    bpp: float = 0.0
    ssimulacra2: float | None = None
    seconds: float = 0.0
    warning: str = ""
    error: str = ""


# Makes the target of the source; returns its bits per pixel, and its score or None.
Work = Callable[[str, str], tuple[float, float | None]]


def is_many(path: str) -> bool:
    """Whether a path stands for many files: a folder, or a pattern with none of its name."""
    if path == cli.PIPE:
        return False
    return os.path.isdir(path) or (glob.has_magic(path) and not os.path.exists(path))


def check_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage error where an option of many files is given for one, which has no use for it."""
    if args.summary and (os.path.isfile(args.input_path) or cli.is_stream(args.input_path)):
        parser.error("--summary is of a folder or a pattern")


def plan(
    inputs: str, outputs: str, takes: Callable[[str], bool], rename: Callable[[str], str]
) -> tuple[list[Job], int]:
    """The Job of each file that is taken, in the order of their names, and how many others are left out.

    inputs: a folder or a pattern; outputs: the folder to mirror them into
    takes: whether a file of a name is one of those; rename: the name of a result for the name of its source

    Others are what is not hidden: files, pipes and links to folders. Raises UserError where there is nothing
    to do, two would have one output, or one an input; and OSError for a folder that cannot be read.
    """
    if outputs == cli.PIPE or (os.path.exists(outputs) and not os.path.isdir(outputs)):
        raise UserError(f"{outputs}: must be a folder, as many files are to be written")
    root = inputs if os.path.isdir(inputs) else _fixed_part(inputs)
    paths = sorted(_files(inputs, root, os.path.abspath(outputs)))
    jobs = [
        Job(os.path.relpath(path, root), path, os.path.join(outputs, rename(os.path.relpath(path, root))))
        for path in paths
        if takes(path) and not (os.path.isdir(path) or files.is_stream(path))  # a pipe would be waited for
    ]
    others = len(paths) - len(jobs)
    if not jobs:
        raise UserError(f"{inputs}: there is nothing to do here{_left_out(others)}")
    _check(jobs)
    return jobs, others


def _left_out(others):
    return f"; {others} of other kinds left out" if others else ""


def target_of_one(source: str, output: str, rename: Callable[[str], str]) -> str:
    """The path of the output for one file: `output`, or what it is called in this folder.

    rename: as of `plan`. Raises UserError where that is the file itself, or cannot be written.
    """
    if output.endswith(os.sep) or (output != cli.PIPE and os.path.isdir(output)):
        if cli.is_stream(source):
            raise UserError(f"{output}: is a folder; a file needs a name where the input has none")
        output = os.path.join(output, rename(os.path.basename(source)))
    if not cli.is_stream(output):
        files.check(output)
        _check([Job(source, source, output)])
    return output


def _check(jobs):
    """Raise UserError where two jobs have one target, or a target is a source, by whatever name."""
    sources, targets = {}, {}
    for job in jobs:
        sources[_identity(job.source)] = job.source
    for job in jobs:
        path, identity = os.path.realpath(job.target), _identity(job.target)
        if path in targets:
            raise UserError(f"{targets[path]} and {job.source} would both become {job.target}")
        if identity in sources:
            raise UserError(f"{job.target}: is the input {sources[identity]} itself")
        targets[path] = job.source


def _identity(path):
    """What all names of a file have in common; of one that is not there, its path."""
    path = os.path.realpath(path)  # without folders that are not there yet, and ".." after them
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _files(inputs, root, outputs):
    """Paths of the files that a folder or a pattern stands for, and of links to folders, but hidden ones.

    Nor those in `outputs` where this is a folder below `root`, the one that is mirrored.
    """
    if not os.path.isdir(inputs):
        is_below = outputs.startswith(os.path.join(os.path.abspath(root), ""))
        for path in filter(os.path.isfile, glob.glob(inputs, recursive=True)):
            if not (is_below and os.path.abspath(path).startswith(outputs + os.sep)):
                yield path
        return
    for folder, folders, names in os.walk(inputs, onerror=_raise):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.abspath(os.path.join(folder, name)) != outputs
        ]
        yield from (os.path.join(folder, name) for name in names if not name.startswith("."))
        yield from filter(os.path.islink, (os.path.join(folder, name) for name in folders))


def _raise(error):
    raise error


def _fixed_part(pattern):
    """The folders of a pattern that come before its first wildcard."""
    parts = pattern.split(os.sep)
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return os.sep.join(parts[:fixed]) or (os.sep if pattern.startswith(os.sep) else ".")


def run(jobs: list[Job], others: int, work: Work, options):
    """Do all jobs, and tell of them: a bar on a terminal, one line at the end, and a line for each failure.

    jobs, others: as `plan` gives them
    work: other processes must be able to import it
    options: of `cli.add_common_options`: with jobs, processes of their own if there are more than one;
    overwrite; summary, the path of a CSV file, which is also written when the run is interrupted; quiet

    Raises UserError at the end if there were failures.
    """
    from tqdm import tqdm  # which --info does without

    if options.summary and not cli.is_stream(options.summary):
        files.check(options.summary)
    todo = [job for job in jobs if options.overwrite or not os.path.isfile(job.target)]
    outcomes = []
    size = sum(_size(job.source) for job in todo)
    bar = tqdm(total=size, unit="B", unit_scale=True, disable=True if options.quiet else None)
    began = time.perf_counter()
    try:
        with bar, contextlib.closing(_outcomes(todo, work, options.jobs, outcomes)) as found:
            for outcome in found:
                if outcome.warning:
                    with tqdm.external_write_mode(sys.stderr):
                        cli.warn(outcome.warning)
                bar.set_postfix_str(
                    f"{len(outcomes) / (time.perf_counter() - began):.1f} files/s", refresh=False
                )
                bar.update(outcome.bytes_before)
    finally:
        if options.summary:
            _write_summary(options.summary, outcomes)
    failures = [outcome for outcome in outcomes if outcome.error]
    done = [outcome for outcome in outcomes if not outcome.error]
    if not options.quiet:
        before, after = (sum(getattr(o, field) for o in done) for field in ("bytes_before", "bytes_after"))
        cli.tell(
            f"{len(done)} files, {before} to {after} bytes, {time.perf_counter() - began:.1f} s; "
            f"{len(jobs) - len(todo)} were there already; {len(failures)} failed{_left_out(others)}",
            options.summary or "",
        )
    for failure in failures:
        cli.warn(failure.error)
    if failures:
        raise UserError(f"{len(failures)} of {len(todo)} files failed")


def _outcomes(jobs, work, processes, known) -> Iterator[Outcome]:
    """The Outcome of each job, as they come; `known` gets each too, and has all when this is closed."""
    if processes == 1:
        for job in jobs:
            known.append(_do(work, job))
            yield known[-1]
        return
    # Read by the libraries of the workers when they start.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    spawn = multiprocessing.get_context("spawn")
    pool, running = concurrent.futures.ProcessPoolExecutor(processes, spawn, _start_worker), set()
    try:
        with _ctrl_c_waits():  # workers, which start here, finish their files first
            for job in jobs:
                running.add(pool.submit(_do_as_worker, work, job))
        for future in concurrent.futures.as_completed(list(running)):
            known.append(future.result())
            running.remove(future)
            yield known[-1]
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError("a worker ended before its time; the files that are there are whole") from error
    finally:
        pool.shutdown(cancel_futures=True)
        known += [future.result() for future in running if not (future.cancelled() or future.exception())]


def _start_worker():
    """Do without tqdm's lock between processes, which a worker that is killed would leave behind."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())


@contextlib.contextmanager
def _ctrl_c_waits():
    """Let Ctrl-C wait for the end of the block; processes that start in it never hear of it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _do_as_worker(work, job):
    """As `_do`; a worker that SIGTERM ends leaves nothing half-written, and does not end the main process."""
    cli.end_on_request()
    try:
        return _do(work, job)
    except SystemExit as end:
        os._exit(end.code)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _size(path):
    """Bytes of a file; 0 where it cannot be asked, which its job will tell."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _do(work, job):
    outcome, began = Outcome(job.name, _size(job.source)), time.perf_counter()
    try:
        with cli.told() as lines:
            bpp, score = work(job.source, job.target)
        outcome.bpp, outcome.ssimulacra2 = round(bpp, 4), None if score is None else round(score, 2)
        outcome.warning = cli.told_of(job.source, lines)
        outcome.bytes_after = os.path.getsize(job.target)
    except Exception as error:  # of one file; the others go on
        outcome.error = " ".join(cli.named(job.source, message_of(error)).split())
    outcome.seconds = round(time.perf_counter() - began, 3)
    return outcome


def _write_summary(path, outcomes):
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Outcome)])
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, outcomes))
    cli.write(path, text.getvalue().encode(errors="surrogateescape"))  # names may hold any bytes
