"""Whether state may be made now: not while a step becomes a graph, which works on what there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_is_fixed = False


class NewState(Exception):
    """Says that a step which becomes a graph makes state."""


@contextmanager
def fixed_state() -> Iterator[None]:
    """Have nothing made that outlives the step inside."""
    global _is_fixed
    before, _is_fixed = _is_fixed, True
    try:
        yield
    finally:
        _is_fixed = before


def is_fixed() -> bool:
    """Tell whether a step becomes a graph."""
    return _is_fixed


def may_be_made() -> None:
    """Raise if state must not be made now; to be called before it is.

    Raises:
        NewState: inside of `fixed_state`.
    """
    if _is_fixed:
        raise NewState
