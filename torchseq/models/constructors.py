"""What a model class's constructor takes, and what it was given, for the config."""

from __future__ import annotations

import inspect
from typing import Any

from torchseq.base.types import Config

_PLAIN = (str, int, float, bool, type(None))
_OPTIONS = ("name", "trainable", "dtype")  # of every layer's config; a model may not take them


def takes(cls: type, argument: str) -> bool:
    """Tell whether a class's constructor takes what every model's config has."""
    if argument not in _OPTIONS:
        return True
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    return any(p.name == argument or p.kind is p.VAR_KEYWORD for p in parameters)


def plain_arguments(cls: type, args: Any, kwargs: Any) -> Config:
    """Return the constructor's arguments and defaults that are plain values."""
    try:
        bound = inspect.signature(cls.__init__).bind_partial(None, *args, **kwargs)  # type: ignore[misc]
    except TypeError:  # the constructor says what is wrong; or a copy is being made
        return {}
    bound.apply_defaults()
    return {name: value for name, value in bound.arguments.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(entry) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, _PLAIN)
