"""Constructors that differ from a shared one in default values only."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

_Constructor = TypeVar("_Constructor", bound=Callable[..., None])


def with_defaults(constructor: _Constructor, **defaults: Any) -> _Constructor:
    """Return a copy of a constructor in which these arguments have other default values.

    Keras's layers of one idea share their arguments, and a stride of a Conv1D is 1 by default
    where a Conv2D's is (1, 1). The copy is a plain function: signatures, docs and subclasses see
    what they would see if it had been written out.

    Args:
        constructor: an `__init__` written in Python.
        **defaults: argument -> default value.

    Raises:
        TypeError: if the constructor has no such argument, or one after it has no default.
    """
    function = cast(FunctionType, constructor)
    signature = inspect.signature(function)
    positional = [
        parameter.replace(default=defaults.pop(parameter.name, parameter.default))
        for parameter in signature.parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    if defaults:
        raise TypeError(f"{function.__qualname__}: no argument is called {sorted(defaults)}.")
    signature.replace(parameters=positional)  # refuses a default before an argument without one
    values = tuple(p.default for p in positional if p.default is not inspect.Parameter.empty)
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, values, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = function.__annotations__
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return cast(_Constructor, copy)
