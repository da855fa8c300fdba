"""Checks of arguments, each with an error that says what must hold, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np


def owner_name(owner: Any) -> str:
    """Return how errors name `owner`: a string as it is, an object by its class."""
    return owner if isinstance(owner, str) else type(owner).__name__


def is_integer(value: Any) -> bool:
    """Tell whether `value` is a whole number and no bool; NumPy's integers count."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def positive_integer(owner: Any, name: str, value: Any) -> int:
    """Return `value` as an int.

    Raises:
        ValueError: unless it is an integer above 0.
    """
    if not is_integer(value) or value <= 0:
        raise ValueError(
            f"{owner_name(owner)}: `{name}` must be a positive integer; got {name}={value!r}."
        )
    return int(value)


def fraction(owner: Any, name: str, value: Any) -> float:
    """Return `value`, a number in [0, 1].

    Raises:
        ValueError: if it is outside.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ValueError(f"{owner_name(owner)}: `{name}` must be a number; got {name}={value!r}.")
    if not 0 <= value <= 1:
        raise ValueError(f"{owner_name(owner)}: `{name}` must be in [0, 1]; got {name}={value!r}.")
    return value  # type: ignore[return-value]  # an int stays an int in configs, as in Keras


def one_of(owner: Any, name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Return `value`.

    Raises:
        ValueError: unless it is one of `allowed`.
    """
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(
            f"{owner_name(owner)}: `{name}` must be one of {allowed}; got {name}={value!r}."
        )
    return value


def integer_tuple(
    owner: Any, name: str, value: Any, length: int, minimum: int = 1
) -> tuple[int, ...]:
    """Return `value` as a tuple of `length` integers; a single integer is repeated.

    Raises:
        ValueError: if the length differs or an entry is no integer of at least `minimum`.
    """
    entries = (value,) * length if is_integer(value) else value
    try:
        entries = tuple(entries)
    except TypeError:
        entries = ()
    if len(entries) != length or not all(is_integer(e) and e >= minimum for e in entries):
        raise ValueError(
            f"{owner_name(owner)}: `{name}` must be an integer or a tuple of {length} integers, "
            f"each at least {minimum}; got {name}={value!r}."
        )
    return tuple(int(entry) for entry in entries)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the known names most like `name`, or all of them if none is."""
    known = sorted(set(known))
    by_folded = {entry.lower(): entry for entry in known}
    close = difflib.get_close_matches(name.lower(), by_folded, n=3, cutoff=0.6)
    if close:
        return "Nearest: " + ", ".join(repr(by_folded[entry]) for entry in close) + "."
    return "Known: " + ", ".join(repr(entry) for entry in known) + "."
