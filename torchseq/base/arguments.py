"""Checks of arguments, each with an error that says what must hold, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch


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


def number(owner: Any, name: str, value: Any, minimum: float | None = None) -> float:
    """Return `value`, a real number.

    Raises:
        ValueError: if it is none, NaN, or below `minimum`.
    """
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or value != value or (minimum is not None and value < minimum):
        rule = "a number" if minimum is None else f"at least {minimum}"
        raise ValueError(f"{owner_name(owner)}: `{name}` must be {rule}; got {name}={value!r}.")
    return value  # type: ignore[no-any-return]  # an int stays an int in configs, as in Keras


def numbers(owner: Any, name: str, value: Any) -> Any:
    """Return `value`, a number or an array, tensor or nested list of numbers.

    Raises:
        ValueError: if it is none of these.
    """
    kind = "f" if isinstance(value, torch.Tensor) else np.asarray(value).dtype.kind
    if kind not in "biuf":
        raise ValueError(
            f"{owner_name(owner)}: `{name}` must be a number or an array of numbers; got "
            f"{name}={value!r}."
        )
    return value


def looked_up(owner: Any, name: str, lookup: Callable[[Any], Any], identifier: Any) -> Any:
    """Return `lookup(identifier)`.

    Raises:
        ValueError, TypeError: those of `lookup`, with the owner and the argument named.
    """
    try:
        return lookup(identifier)
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{owner_name(owner)}: `{name}` is not understood: {error}") from error


def axis_or_axes(owner: Any, axis: Any) -> int | list[int]:
    """Return the argument `axis`, an integer or a list of them.

    Raises:
        TypeError: if it is neither.
    """
    if is_integer(axis):
        return int(axis)
    if isinstance(axis, list | tuple) and axis and all(map(is_integer, axis)):
        return [int(entry) for entry in axis]
    raise TypeError(
        f"{owner_name(owner)}: `axis` must be an integer or a list of integers; got axis={axis!r}."
    )


def fraction(owner: Any, name: str, value: Any) -> float:
    """Return `value`, a number in [0, 1].

    Raises:
        ValueError: if it is outside.
    """
    if not 0 <= number(owner, name, value) <= 1:
        raise ValueError(f"{owner_name(owner)}: `{name}` must be in [0, 1]; got {name}={value!r}.")
    return value  # type: ignore[no-any-return]


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
