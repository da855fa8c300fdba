"""What `fit`, `evaluate` and `predict` show while they run."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from torchseq.callbacks.bar import LiveBar, is_live
from torchseq.callbacks.callback import Callback

_REFRESH_SECONDS = 0.1
_SHORT_SECONDS = 0.25  # an epoch that ends before shows its finished line alone: no flicker
_BAR = "━" * 20
_NEVER = float("inf")


class ProgbarLogger(Callback):
    """Shows progress on standard output.

    With `verbose=1`, a bar on a terminal or in a notebook, painted at most ten times a second,
    and a finished line for each epoch, which is all that a file or pipe gets. With `verbose=2`, a
    plainer line for each epoch.

    Source: keras.callbacks.ProgbarLogger. The finished lines are Keras's; the bar is tqdm's.
    """

    only_shows = True

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.target: int | None = None
        self.verbose = 1
        self.epochs = 1
        self._is_fitting = False
        self._bar: LiveBar | None = None
        self._start_time = 0.0
        self._first_step_time: float | None = None
        self._due_time = 0.0

    def set_params(self, params: Any) -> None:
        super().set_params(params)
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.epochs = params.get("epochs") or 1
        self.target = params.get("steps")

    def close_bar(self) -> None:
        """Take the bar off the screen, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    # Hooks. In those of batches, a clock is read and nothing else unless a refresh is due.

    def on_train_begin(self, logs: Any = None) -> None:
        self._is_fitting = True  # validation shows nothing of its own

    def on_train_end(self, logs: Any = None) -> None:
        self.close_bar()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start()
        if self.verbose and self.epochs > 1:
            write_line(f"Epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen = batch + 1
        now = time.perf_counter()
        if now >= self._due_time:
            self._refresh(now, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._finish(logs)

    def on_test_begin(self, logs: Any = None) -> None:
        if not self._is_fitting:
            self._start()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self._is_fitting:
            self.on_train_batch_end(batch, logs)

    def on_test_end(self, logs: Any = None) -> None:
        if not self._is_fitting:
            self._finish(logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._start()

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_train_batch_end(batch)  # the logs are the outputs

    def on_predict_end(self, logs: Any = None) -> None:
        self._finish(None)

    # What they do.

    def _start(self) -> None:
        self.close_bar()
        self.seen = 0
        self._start_time = time.perf_counter()
        self._first_step_time = None
        self._due_time = 0.0  # so that the first step's time is noted

    def _refresh(self, now: float, logs: Any) -> None:
        if self.verbose != 1:
            self._due_time = _NEVER
            return
        if self.seen == 1:
            self._first_step_time = now
        if not is_live():
            self._due_time = _NEVER
            return
        elapsed = now - self._start_time
        if elapsed < _SHORT_SECONDS:
            self._due_time = self._start_time + _SHORT_SECONDS
            return
        if self._bar is None:
            self._bar = LiveBar(self.target, elapsed)
        # The last group of batches that go as one may be short.
        seen = self.seen if self.target is None else min(self.seen, self.target)
        self._bar.show(seen, format_metrics(logs))
        self._due_time = time.perf_counter() + _REFRESH_SECONDS

    def _finish(self, logs: Any) -> None:
        self.close_bar()
        now = time.perf_counter()
        if self.target is None:
            self.target = self.seen  # the next epoch has as many
        if self.verbose not in (1, 2) or (self.verbose == 2 and not self.target):
            return
        elapsed = f"{now - self._start_time:.0f}s"
        step = format_step_time(self._step_seconds(now))
        metrics = format_metrics(logs, self.verbose)
        if self.verbose == 2:
            write_line(f"{self.target}/{self.target} - {elapsed} - {step}{metrics}")
        elif self.target:
            write_line(f"{self.target}/{self.target} {_BAR} {elapsed} {step}{metrics}")
        else:
            write_line(f"{0:7d}/Unknown {elapsed} {step}{metrics}")

    def _step_seconds(self, now: float) -> float:
        """Return the mean time of a step, without the first, which often is slow."""
        steps = self.target or 0
        if self._first_step_time is not None and steps > 1:
            return (now - self._first_step_time) / (steps - 1)
        return (now - self._start_time) / steps if steps else 0.0


def format_step_time(seconds: float) -> str:
    """Return the time of a step as Keras writes it.

    Examples:
        >>> format_step_time(2.4), format_step_time(0.0024), format_step_time(2.4e-6)
        ('2s/step', '2ms/step', '2us/step')
    """
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s/step"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.0f}ms/step"
    return f"{seconds * 1e6:.0f}us/step"


def format_metrics(logs: Any, verbose: int = 1) -> str:
    """Return the logs as the end of a progress line.

    Examples:
        >>> format_metrics({"accuracy": 0.5, "loss": 0.0000123})
        ' - accuracy: 0.5000 - loss: 1.2300e-05'
    """
    parts = []
    for name, value in (logs or {}).items():
        number = value if isinstance(value, float) else float(np.mean(value))
        # Keras's quirk: with verbose=2 it writes all negative numbers with an exponent.
        is_plain = number > 1e-3 if verbose == 2 else abs(number) > 1e-3
        parts.append(f" - {name}: {number:.4f}" if is_plain else f" - {name}: {number:.4e}")
    return "".join(parts)


def write_line(text: str) -> None:
    """Print `text`, without the signs that standard output's encoding lacks."""
    stream = sys.stdout
    if stream is None:  # a program without a console
        return
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError:
        print(text.replace("━", "=").encode("ascii", "replace").decode(), file=stream, flush=True)
