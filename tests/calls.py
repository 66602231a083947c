"""The scripts in this process, which saves the seconds that PyTorch takes to be imported."""

import contextlib
import importlib
import io
import signal
import subprocess
import sys
from unittest import mock

import torch

import cli


def call(name: str, *args) -> subprocess.CompletedProcess:
    """Run a script as a user would: call("train.py", ...), or a module such as "training.trials"."""
    out, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    main = importlib.import_module(name.removesuffix(".py")).main
    arguments, code = [name, *map(str, args)], 0
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors)
    with mock.patch.object(sys, "argv", arguments), streams[0], streams[1], _as_it_was():
        try:
            cli.run(main)
        except SystemExit as end:
            code = end.code or 0
    return subprocess.CompletedProcess(arguments, code, *map(_text, (out, errors)))


def _text(stream):
    stream.flush()
    return stream.buffer.getvalue().decode()


@contextlib.contextmanager
def _as_it_was():
    """Take back what a script sets for its whole process."""
    handler, deterministic = signal.getsignal(signal.SIGTERM), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill
