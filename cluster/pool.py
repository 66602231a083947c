"""The units of a task on a Ray cluster: a pool of actors that each have a model."""

import contextlib
import dataclasses
import io
import logging
import os
import socket
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from cluster.plan import MISSING, Task, Unit
from cluster.worker import Outcome, Worker
from coding.errors import UserError

# A block is what an actor does at a time, and again if it dies; each is 8 ms and 8 kB of the driver.
MAX_BLOCKS = 100_000
# What other machines need of the program, as patterns; [.] is its folder, which Ray leaves out otherwise.
SHIPPED = (
    "[.]",
    "*.py",
    "cluster",
    "coding",
    "encoder",
    "engines",
    "layers",
    "models",
    "networks",
    "pictures",
)


class _Actor:
    """A Worker as Ray Data calls it, with rows that are dicts."""

    def __init__(self, task):
        self._worker = Worker(task)

    def __call__(self, row):
        outcome = self._worker.do(Unit(**row))
        return {
            "before": outcome.before,
            "after": outcome.after,
            "failures": "\n".join(outcome.failures),
        }


def outcomes(task: Task, units: list[Unit], address: str | None, workers: int | None) -> Iterator[Outcome]:
    """The Outcome of each unit, as they come, with a bar on a terminal.

    address: of a cluster, "auto" for the one that this machine belongs to, or None for one of its own cores.
    workers: actors; None for one for each CPU or, on the device "cuda", GPU.

    Raises UserError where the cluster cannot be reached, has nothing to run on, or fails as a whole.
    """
    with _silence():
        ray = _start(address, workers)
        try:
            rows = _rows(ray, task, units, workers)
            for row in tqdm(rows, total=len(units), unit="file", disable=None):
                failures = tuple(filter(None, row["failures"].split("\n")))
                yield Outcome(row["before"], row["after"], failures)
        except ray.exceptions.RayError as error:
            line = str(error).strip().splitlines()[-1]
            raise UserError(f"the cluster failed ({type(error).__name__}: {line})") from error
        finally:
            ray.shutdown()  # whose threads would write as long as they live


@contextlib.contextmanager
def _silence():
    """Keep what Ray's processes and threads write, whatever one asks of them, from both standard streams."""
    errors, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    ours = os.fdopen(errors, "w", buffering=1)
    with ours, contextlib.redirect_stderr(ours), contextlib.redirect_stdout(io.StringIO()):
        try:
            yield
        finally:
            os.dup2(errors, 2)
            os.close(nowhere)


def _start(address, workers):
    """Join or start the cluster; returns the package."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(MISSING.format("Ray")) from error
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        excludes = ["/*", *(f"!/{name}" for name in SHIPPED), "**/__pycache__"]
        options["runtime_env"] = {"working_dir": folder, "excludes": excludes}
    else:
        options |= {"num_cpus": workers, "include_dashboard": False}
    try:
        host, _, port = (address or "").removeprefix("ray://").rpartition(":")
        if host:  # Ray itself tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"the cluster cannot be reached ({error})") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


def _rows(ray, task, units, workers) -> Iterable[dict]:
    """What the actors give for each unit, in the order of their ends."""
    resource = "GPU" if task.device == "cuda" else "CPU"
    there = int(ray.cluster_resources().get(resource, 0))
    if not there:  # Ray would wait for one without an end
        raise UserError(f"the cluster has no {resource}")
    data = ray.data.from_items(
        list(map(dataclasses.asdict, units)), override_num_blocks=min(len(units), MAX_BLOCKS)
    )
    done = data.map(
        _Actor,
        fn_constructor_args=(task,),
        concurrency=min(workers or there, len(units)),
        num_cpus=1,
        num_gpus=1 if task.device == "cuda" else None,
    )
    return done.iter_rows()
