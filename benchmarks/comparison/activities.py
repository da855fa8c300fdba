"""What is timed: for each activity, how a session is made ready and what one round of it is."""

from __future__ import annotations

import gc
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comparison.contenders.contender import Contender, Session
from comparison.problems.problem import Problem

_LEAST_SECONDS = 0.15  # of a round; shorter calls are repeated

Round = Callable[[], list[float]]


class NotOfferedError(Exception):
    """A contender has no way of its own for an activity."""


@dataclass
class Ready:
    """A session of which rounds can be timed.

    Args:
        round: does one and returns its figures, mostly seconds.
        first_seconds: from the network's description to the end of the first step.
        losses: mean losses of the epochs so far; rounds append to it.
    """

    round: Round
    first_seconds: float
    losses: list[float]


def prepare(activity: str, contender: Contender, problem: Problem, device: str) -> Ready:
    """Make a session and warm it up.

    Raises:
        NotOfferedError: if the contender has no way for it.
    """
    x, y = problem.arrays()
    start = time.perf_counter()
    session = contender.session(problem, device)
    method = {"verbose": "fit_verbosely", "memory": "fit", "row": "predict"}.get(activity, activity)
    if not hasattr(session, method):
        raise NotOfferedError(activity)
    if activity == "evaluate" and hasattr(session, "with_accuracy"):
        session.with_accuracy()
    size = problem.batch_size
    losses = [session.fit(session.data(x[:size], y[:size]))]
    first_seconds = time.perf_counter() - start
    start_of = {
        "fit": _fit,
        "verbose": _verbose,
        "tenths": _tenths,
        "memory": _memory,
        "evaluate": _evaluate,
        "predict": _predict,
        "row": _row,
        "save": _save,
        "load": _load,
    }
    return Ready(start_of[activity](session, x, y, losses), first_seconds, losses)


def seconds_of(run: Callable[[], object], repeats: int = 1) -> float:
    """Return the time of a call, without garbage of earlier ones."""
    gc.collect()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def _fit(session: Session, x: Any, y: Any, losses: list[float]) -> Round:
    data = session.data(x, y)
    losses[:] = [session.fit(data)]  # warm-up
    return lambda: [seconds_of(lambda: losses.append(session.fit(data)))]


def _verbose(session: Any, x: Any, y: Any, losses: list[float]) -> Round:
    """Time `verbose=0` and `verbose=1` one after the other, in turns."""
    data = session.data(x, y)
    losses[:] = [session.fit(data)]
    runs = [session.fit, session.fit_verbosely]
    order = [0, 1]

    def round() -> list[float]:
        seconds = [0.0, 0.0]
        for index in order:
            seconds[index] = seconds_of(lambda index=index: losses.append(runs[index](data)))
        order.reverse()
        return seconds

    screen, sys.stdout = sys.stdout, Screen()
    session.fit_verbosely(data)
    sys.stdout = screen

    def on_screen() -> list[float]:
        sys.stdout = Screen()
        try:
            return round()
        finally:
            sys.stdout = screen

    return on_screen


class Screen:
    """A terminal that forgets, so that the drawing of bars is timed and no terminal's speed."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""


def _tenths(session: Any, x: Any, y: Any, losses: list[float]) -> Round:
    data = session.data(x, y)
    losses[:] = [session.fit(data)]
    session.tenths(data)
    return lambda: session.tenths(data)


def _memory(session: Session, x: Any, y: Any, losses: list[float]) -> Round:
    """Return bytes: what an epoch adds at its peak, and the peak of the whole process."""
    data = session.data(x, y)

    def round() -> list[float]:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _memory_status("VmRSS")
        losses.append(session.fit(data))
        peak = _memory_status("VmHWM")
        return [peak - before, peak]

    return round


def _memory_status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    return 1024.0 * int(line.split()[1])


def _evaluate(session: Any, x: Any, y: Any, losses: list[float]) -> Round:
    data = session.test_data(x, y)
    if not math.isfinite(session.evaluate(data)):
        raise ValueError("the loss is not finite")
    return lambda: [seconds_of(lambda: session.evaluate(data))]


def _predict(session: Any, x: Any, y: Any, losses: list[float]) -> Round:
    outputs = np.asarray(session.predict(x))
    if len(outputs) != len(x) or not np.isfinite(outputs).all():
        raise ValueError(f"wrong outputs, of shape {outputs.shape}")
    if outputs.min() < 0 or outputs.max() > 1:
        raise ValueError("outputs must be probabilities")
    return _repeated(lambda: session.predict(x))


def _row(session: Any, x: Any, y: Any, losses: list[float]) -> Round:
    return _predict(session, x[:1], y, losses)


def _save(session: Any, x: Any, y: Any, losses: list[float]) -> Round:
    path = Path(tempfile.mkdtemp()) / f"model{session.suffix}"
    return _repeated(lambda: session.save(path))


def _load(session: Any, x: Any, y: Any, losses: list[float]) -> Round:
    path = Path(tempfile.mkdtemp()) / f"model{session.suffix}"
    session.save(path)
    return _repeated(lambda: session.load(path))


def _repeated(run: Callable[[], object]) -> Round:
    """Return a round that is long enough to be timed."""
    run()
    repeats = max(int(_LEAST_SECONDS / seconds_of(run)), 1)
    return lambda: [seconds_of(run, repeats)]
