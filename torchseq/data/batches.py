"""Inputs, targets and weights in one value, and apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from torchseq.data.source import Batch


def unpack(data: Any, what: str = "The data") -> tuple[Any, Any, Any]:
    """Return inputs, targets and sample weights of `x`, `(x,)`, `(x, y)` or `(x, y, weight)`.

    Args:
        data: one of these forms; lists count as tuples.
        what: how errors call it.

    Raises:
        ValueError: if it has another form.
    """
    if isinstance(data, Mapping):
        raise ValueError(
            f"{what} must be x, (x, y) or (x, y, sample_weight); got a dict with the keys "
            f"{list(data)}. Make tuples of its values."
        )
    if not isinstance(data, tuple | list):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            f"{what} must be x, (x, y) or (x, y, sample_weight); got a {type(data).__name__} of "
            f"{len(data)} entries."
        )
    x, y, weight = (*data, None, None)[:3]
    return x, y, weight


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets and sample weights, None for what is not there.

    Args:
        data: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`; lists count as tuples.

    Raises:
        ValueError: for a tuple of another length.

    Examples:
        >>> unpack_x_y_sample_weight((1, 2))
        (1, 2, None)

    Source: keras.utils.unpack_x_y_sample_weight.
    """
    return (data, None, None) if isinstance(data, Mapping) else unpack(data)


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Return what `unpack_x_y_sample_weight` takes apart.

    Examples:
        >>> pack_x_y_sample_weight(1, 2), pack_x_y_sample_weight(1)
        ((1, 2), 1)

    Source: keras.utils.pack_x_y_sample_weight.
    """
    if sample_weight is not None and y is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, tuple | list) else x


def each(function: Callable[[Any], Tensor], parts: Iterable[Any]) -> Batch:
    """Return what a function makes of inputs, targets and weights; None stays None."""
    x, y, weight = parts
    return (
        function(x),
        None if y is None else function(y),
        None if weight is None else function(weight),
    )
