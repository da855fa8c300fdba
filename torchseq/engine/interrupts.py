"""Ctrl-C during `fit`: the step that runs ends first, so that no update is left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

pending = [False]  # whether Ctrl-C came, and waits for the end of the step


@contextmanager
def after_the_step() -> Iterator[None]:
    """Let the first Ctrl-C wait for `check`; the second one interrupts at once.

    Where a signal handler cannot be set, or the program has one of its own, all stays as it is.
    """
    if not _can_defer():
        yield
        return
    pending[0] = False
    signal.signal(signal.SIGINT, _defer)
    try:
        yield
        check()  # after the last step, and in what was no step
    finally:
        pending[0] = False
        signal.signal(signal.SIGINT, signal.default_int_handler)


def check() -> None:
    """Raise the interrupt that waits, if there is one.

    Raises:
        KeyboardInterrupt: what Ctrl-C asks for.
    """
    if pending[0]:
        pending[0] = False
        raise KeyboardInterrupt


def _defer(number: int, frame: Any) -> None:
    if pending[0]:
        pending[0] = False
        raise KeyboardInterrupt
    pending[0] = True


def _can_defer() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
