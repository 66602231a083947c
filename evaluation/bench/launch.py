"""A command in a process of its own: its output, its seconds and its peak memory.

Linux counts the memory of a process that starts another towards the peak of this one. A benchmark has large
libraries, so a small Python stands between the two: this module, run with `python3 -m`.
"""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import time

from coding.errors import UserError

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of the peak that the system tells


class LaunchError(UserError):
    """A command that failed, and the last line of what it said."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A command that has ended well.

    seconds: from its start to its end
    megabytes: the largest part of memory that it had, in 10^6 bytes
    output: what it printed
    """

    seconds: float
    megabytes: float
    output: str


def run(command: list[str], text: str = "") -> Run:
    """The Run of a command in the program's folder, with `text` as its input; raises LaunchError."""
    request = json.dumps({"command": command, "text": text})
    between = [sys.executable, "-m", "evaluation.bench.launch"]
    done = subprocess.run(between, cwd=TOP, input=request, stdout=subprocess.PIPE, text=True, check=True)
    code, error, *rest = json.loads(done.stdout)
    if code:
        reason = error.strip().splitlines()[-1:] or [f"exit status {code}"]
        raise LaunchError(reason[0])
    return Run(*rest)


def ask(module: str, **request) -> tuple[dict, Run]:
    """What a module of this package prints for a request, and its Run; raises LaunchError.

    The request is an object of JSON on its standard input, and so is the answer on its output.
    """
    done = run([sys.executable, "-m", f"evaluation.bench.{module}"], json.dumps(request))
    return json.loads(done.output), done


def _measure(command, text):
    """Exit status, what was said on stderr, and the numbers of a Run."""
    began = time.perf_counter()
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * UNIT / 1e6
    return done.returncode, done.stderr, seconds, peak, done.stdout


if __name__ == "__main__":
    print(json.dumps(_measure(**json.load(sys.stdin))))
