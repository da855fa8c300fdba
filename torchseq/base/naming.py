"""Unique names (`dense`, `dense_1`) and the name scopes that make a weight's path."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_uses: Counter[str] = Counter()
_scopes: list[str] = []


def to_snake_case(name: str) -> str:
    """Return a class name as Keras writes it in layer names.

    Examples:
        >>> to_snake_case("MaxPooling2D"), to_snake_case("LSTM")
        ('max_pooling2d', 'lstm')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def unique(prefix: str) -> str:
    """Return `prefix`, then `prefix_1`, `prefix_2`, ... at later calls."""
    count = _uses[prefix]
    _uses[prefix] += 1
    return f"{prefix}_{count}" if count else prefix


def auto_name(class_name: str) -> str:
    """Return the next unused default name for an object of this class."""
    return unique(to_snake_case(class_name))


def clear() -> None:
    """Start all counts anew, as `keras.utils.clear_session` does."""
    _uses.clear()


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Put `name` in front of the paths of weights made inside."""
    _scopes.append(name)
    try:
        yield
    finally:
        _scopes.pop()


def path_to(name: str) -> str:
    """Return the path of a weight called `name` made now: `sequential/dense/kernel`."""
    return "/".join([*_scopes, name])
