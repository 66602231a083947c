"""What the fuzzer must see, it sees: exceptions, warnings, crashes, endless loops and memory."""

import argparse
import os
import signal

import pytest

from coding.errors import UserError
from fuzz import __main__ as fuzz
from fuzz import targets, worker


class Target:
    """Does what its data says."""

    @staticmethod
    def use(data):
        data()


def make_a_picture():
    pass


def refuse():
    raise UserError("a line")


def fail():
    raise ZeroDivisionError


def warn():
    os.write(2, b"file.py:1: RuntimeWarning: invalid value")


def grow():
    return bytes(2 * worker.MOST_MEMORY)


def crash():
    os.kill(os.getpid(), signal.SIGKILL)


def loop():
    while True:
        pass


CASES = {
    make_a_picture: "picture",
    refuse: "UserError",
    fail: "FAILURE: ZeroDivisionError",
    warn: "FAILURE: file.py",
    grow: "FAILURE: MemoryError",
    crash: "FAILURE: crashes with exit code -9",
    loop: "FAILURE: hangs",
}


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_failures_are_seen_and_the_rest_goes_on(monkeypatch, tmp_path, capsys, jobs):
    cases = list(CASES) * 2
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "make", lambda seed, number: (Target, cases[number]))
    monkeypatch.setattr(worker, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(worker, "MOST_MEMORY", 1 << 30)
    monkeypatch.setattr(fuzz, "CHUNK", 5)
    heard, report = {}, fuzz.Report(0)
    monkeypatch.setattr(report, "add", lambda number, name, outcome, *_: heard.update({number: outcome}))
    fuzz.Workers(argparse.Namespace(seed=0, inputs=len(cases), seconds=None, jobs=jobs), report).run()
    assert sorted(heard) == list(range(len(cases)))
    for number, outcome in heard.items():
        assert outcome.startswith(CASES[cases[number]]), cases[number].__name__


def test_a_failure_is_kept_and_counted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    report = fuzz.Report(seed=3)
    report.add(7, "ImageFile", "picture", 0.25, 1 << 20)
    report.add(8, "ImageFile", "FAILURE: hangs", 0.5, 2 << 20)
    assert report.failures == 1 and "1 pictures" in report.line() and "1 failures" in report.line()
    (kept,) = (tmp_path / fuzz.KEPT).iterdir()
    assert kept.read_bytes() == targets.make(3, 8)[1]
