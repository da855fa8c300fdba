"""A progress bar at the end of the screen, and prints that go above it."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from tqdm.auto import tqdm

_IS_WIDGET = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)

_ENDING = "{remaining} left {rate_fmt}{desc}"
_WIDE_FORMAT = "{n_fmt}/{total_fmt} {bar:20} " + _ENDING
_NARROW_FORMAT = "{n_fmt}/{total_fmt} {bar:10} " + _ENDING
_WIDGET_FORMAT = "{n_fmt}/{total_fmt} {bar} " + _ENDING
_UNKNOWN_FORMAT = "{n_fmt}/Unknown {elapsed} {rate_fmt}{desc}"
_WIDE_COLUMNS = 100  # below, the metrics need the room more than the bar


def is_live() -> bool:
    """Tell whether standard output can show a bar that is painted over and over."""
    stream = sys.stdout
    in_notebook = type(stream).__module__.startswith("ipykernel.")
    return in_notebook or bool(getattr(stream, "isatty", bool)())


def _format() -> str:
    if _IS_WIDGET:
        return _WIDGET_FORMAT
    is_wide = shutil.get_terminal_size().columns >= _WIDE_COLUMNS
    return _WIDE_FORMAT if is_wide else _NARROW_FORMAT


class _Tqdm(tqdm):  # type: ignore[misc]  # tqdm has no types
    """tqdm without its monitor thread: the training loop decides when to paint."""

    monitor_interval = 0


class _Printer:
    """Standard output or error while a bar is shown: takes it away before something is written."""

    def __init__(self, stream: Any, bar: LiveBar):
        self.stream = stream
        self._bar = bar

    def write(self, text: str) -> Any:
        self._bar.make_room(text)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class LiveBar:
    """A tqdm bar on standard output that survives prints of others.

    On a terminal it stands in front of `sys.stdout` and `sys.stderr` until `close`: a print takes
    the bar off the screen, and the next `show` paints it below what was printed.

    Args:
        total: number of steps; None if unknown.
        elapsed_seconds: since when the steps run.
    """

    def __init__(self, total: int | None, elapsed_seconds: float):
        stream = sys.stdout
        while isinstance(stream, _Printer):  # inside another bar's run, such as a callback's
            stream.write("")
            stream = stream.stream
        self._stream = stream
        self._is_line_open = False  # someone has printed text without an end of line
        self._tqdm = _Tqdm(
            total=total,
            file=stream,
            leave=False,
            bar_format=_format() if total else _UNKNOWN_FORMAT,
            ascii=" ━",
            unit="step",
            mininterval=0,
            miniters=1,
            delay=1e-9,  # paint when told to, not at once
            position=0,
        )
        if not self._tqdm.disable:  # by tqdm's environment variable
            self._tqdm.start_t -= elapsed_seconds
            self._tqdm.last_print_t = self._tqdm.start_t
        self._replaced: list[tuple[str, Any, Any]] = []
        if not _IS_WIDGET:
            self._replace("stdout")
            self._replace("stderr")

    def _replace(self, name: str) -> None:
        stream = getattr(sys, name)
        if stream is not None and getattr(stream, "isatty", bool)():
            inner = stream.stream if isinstance(stream, _Printer) else stream
            printer = _Printer(inner, self)
            self._replaced.append((name, stream, printer))
            setattr(sys, name, printer)

    def show(self, step: int, text: str) -> None:
        """Paint the bar at `step`, with `text` at its end."""
        self._end_line()
        self._tqdm.desc = text
        if not _IS_WIDGET:  # anew each time, since windows change their size
            self._tqdm.ncols = shutil.get_terminal_size().columns - 1
        self._tqdm.update(step - self._tqdm.n)

    def make_room(self, text: str) -> None:
        """Take the bar off the screen, because `text` is about to be written there."""
        if not self._is_line_open:
            self._tqdm.clear()
        if text:
            self._is_line_open = not text.endswith("\n")

    def close(self) -> None:
        """Take the bar off the screen and let prints go their own way again."""
        for name, before, printer in self._replaced:
            if getattr(sys, name) is printer:  # else someone has put another in its place
                setattr(sys, name, before)
        self._replaced = []
        self._end_line()
        self._tqdm.close()

    def _end_line(self) -> None:
        if self._is_line_open:
            self._stream.write("\n")
            self._is_line_open = False
