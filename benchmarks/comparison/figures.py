"""Ratios and medians of what was measured; all functions of one run's results as JSON has them."""

from __future__ import annotations

import statistics
from typing import Any

from comparison.contenders import BASE

Result = dict[str, Any]


def column(result: Result, name: str, index: int = 0) -> list[float]:
    """Return one figure of each round of a contender; empty if it has none."""
    return [figures[index] for figures in result["figures"].get(name, [])]


def ratio(result: Result, name: str, other: str = BASE) -> float | None:
    """Return how many times as fast as another one is: the median of the rounds' ratios."""
    pairs = list(zip(column(result, other), column(result, name), strict=False))
    return statistics.median(theirs / ours for theirs, ours in pairs) if pairs else None


def verbose_ratio(result: Result, name: str) -> float | None:
    """Return the speed with the progress bar as a share of that without."""
    rounds = result["figures"].get(name, [])
    return statistics.median(silent / verbose for silent, verbose in rounds) if rounds else None


def rate(result: Result, name: str) -> float | None:
    """Return units per second, the median over the rounds."""
    seconds = column(result, name)
    return result["units"] / statistics.median(seconds) if seconds else None


def step_microseconds(result: Result, name: str, num_steps: int) -> float | None:
    """Return the time of a step, the median over the rounds."""
    seconds = column(result, name)
    return 1e6 * statistics.median(seconds) / num_steps if seconds else None


def spread(result: Result, name: str) -> float | None:
    """Return the largest part by which a round is off the median."""
    seconds = column(result, name)
    if not seconds:
        return None
    middle = statistics.median(seconds)
    return max(abs(each / middle - 1) for each in seconds)


def flatness(result: Result, name: str) -> float | None:
    """Return the time of an epoch's last tenth over that of its first."""
    rounds = result["figures"].get(name, [])
    return statistics.median(tenths[-1] / tenths[0] for tenths in rounds) if rounds else None


def untrained(result: Result) -> list[str]:
    """Return those whose loss did not fall."""
    if result["task"]["activity"] not in ("fit", "verbose"):
        return []
    return [name for name, losses in result["losses"].items() if not losses[-1] < losses[0]]
