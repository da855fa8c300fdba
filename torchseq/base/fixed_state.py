"""Whether state may be made now: not while a step becomes a graph, which works on what there is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Here(threading.local):
    """What holds in a thread: others may make state while a step is compiled in this one."""

    is_fixed = False


_here = _Here()


class NewState(Exception):
    """Says that a step which becomes a graph makes state."""


@contextmanager
def fixed_state() -> Iterator[None]:
    """Have nothing made that outlives the step inside."""
    before, _here.is_fixed = _here.is_fixed, True
    try:
        yield
    finally:
        _here.is_fixed = before


def is_fixed() -> bool:
    """Tell whether a step becomes a graph."""
    return _here.is_fixed


def may_be_made() -> None:
    """Raise if state must not be made now; to be called before it is.

    Raises:
        NewState: inside of `fixed_state`.
    """
    if _here.is_fixed:
        raise NewState
