"""A process that uses hostile files one after the other, and tells what came of each.

Limits end it where the program would hang or take too much memory; who started it sees that by its exit.
"""

import os
import resource
import signal
import tempfile
import time
import traceback
from multiprocessing.connection import Connection

from coding.errors import UserError
from fuzz import targets

MOST_SECONDS = 60  # of one input, of the processor
MOST_MEMORY = (
    4 << 30
)  # of address space beyond what the program itself takes: a picture of 268 megapixels needs 3


def work(connection: Connection, seed: int, numbers: range) -> None:
    """Use the inputs of these numbers; sends (number, target, outcome, seconds, bytes of peak memory).

    outcome: "picture", the name of a UserError, or what went wrong.
    """
    _limit_memory()
    with tempfile.TemporaryFile() as stderr:
        os.dup2(stderr.fileno(), 2)
        for number in numbers:
            target, data = targets.make(seed, number)
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)  # whose signal ends the process
            signal.setitimer(signal.ITIMER_REAL, 10 * MOST_SECONDS)
            began, said = time.process_time(), os.fstat(2).st_size
            outcome = _outcome(target, data)
            message = _said(stderr, said)
            if "Warning:" in message:  # of Python: libtiff also writes there, which Pillow does not prevent
                outcome = f"FAILURE: {message}"
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            connection.send((number, target.__name__, outcome, time.process_time() - began, peak))


def _limit_memory():
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _outcome(target, data):
    try:
        target.use(data)
    except UserError as error:
        return type(error).__name__
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())[:200]
        return (
            f"FAILURE: {type(error).__name__}: {message} ({os.path.basename(where.filename)}:{where.lineno})"
        )
    return "picture"


def _said(file, start):
    return " ".join(os.pread(file.fileno(), 300, start).decode(errors="replace").split())
