"""Times contenders in turn, so that a drift of the machine's speed meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Run = Callable[[], object]


def measure(
    runs: Mapping[str, Run], rounds: int, least_seconds: float = 0
) -> dict[str, list[float]]:
    """Return name -> seconds per run in each round; the order turns from round to round.

    Args:
        runs: name -> what to time; each runs once before, uncounted.
        rounds: how often each is timed.
        least_seconds: short runs are repeated within a round until one has taken about as long.
    """
    repeats = max(1, *(_repeats(run, least_seconds) for run in runs.values()))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            for _ in range(repeats):
                runs[name]()
            seconds[name].append((time.perf_counter() - start) / repeats)
    return seconds


def _repeats(run: Run, least_seconds: float) -> int:
    run()  # warm-up
    if not least_seconds:
        return 1
    start = time.perf_counter()
    run()
    return int(least_seconds / (time.perf_counter() - start))
