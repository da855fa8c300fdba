"""Whether state may be made now: not while a step becomes a graph, which works on what there is."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from torchseq.base.modes import setting


class _Here(threading.local):
    """What holds in a thread: others may make state while a step is compiled in this one."""

    is_fixed = False


_here = _Here()


class NewState(Exception):
    """Says that a step which becomes a graph makes state."""


def fixed_state() -> AbstractContextManager[None]:
    """Return a context in which nothing is made that outlives the step inside."""
    return setting(_here, "is_fixed", True)


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
