"""The seconds of calls."""

import time
from collections.abc import Callable


def seconds(function: Callable, runs: int = 1, least: float = 0.0) -> tuple[list[float], object]:
    """The seconds of a call in each of some runs, and what the last call gave.

    least: seconds of a run, which is as many calls as they take, so that short calls are not lost in noise
    """
    times = []
    for _ in range(runs):
        calls, began = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - began < least:
            result = function()
            calls += 1
        times.append((time.perf_counter() - began) / calls)
    return times, result
