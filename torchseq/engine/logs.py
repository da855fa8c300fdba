"""Values that stay on the device until someone reads them."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Any

import numpy as np
import torch
from torch import Tensor


class ReadLogs(dict[str, Any]):
    """Logs on the host, in an order of their own, which callbacks keep."""


def read(values: Mapping[str, Any]) -> ReadLogs:
    """Return the values as Python floats (arrays stay arrays), in one copy to the host.

    Args:
        values: name -> number or tensor.
    """
    scalars = {
        name: value
        for name, value in values.items()
        if isinstance(value, Tensor) and value.ndim == 0
    }
    numbers = iter(_numbers(list(scalars.values())))
    return ReadLogs(
        (name, next(numbers) if name in scalars else _plain(value))
        for name, value in values.items()
    )


def _numbers(tensors: list[Tensor]) -> list[float]:
    if not tensors:
        return []
    device = tensors[0].device
    stacked = torch.stack([tensor.detach().to(device, torch.float64) for tensor in tensors])
    numbers: list[float] = stacked.tolist()
    return numbers


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    return float(value) if isinstance(value, int | np.number) else value


class DeviceLogs(dict[str, Any]):
    """A dict of logs whose values are read from the device when the first of them is asked for.

    Args:
        names: the keys.
        compute: returns key -> value, on the host.
    """

    def __init__(self, names: list[str], compute: Callable[[], Mapping[str, Any]]):
        super().__init__(dict.fromkeys(names))
        self._compute: Callable[[], Mapping[str, Any]] | None = compute

    def _read(self) -> None:
        if self._compute is not None:
            compute, self._compute = self._compute, None
            super().update(compute())

    def unread(self) -> DeviceLogs:
        """Return logs that are read by themselves, if these were not read yet."""
        return self if self._compute is None else DeviceLogs(list(self.keys()), self._compute)

    def __getitem__(self, key: str) -> Any:
        self._read()
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        # Makes `dict(logs)` and `{**logs}` come here, which else copy what is not read yet.
        self._read()
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default`."""
        self._read()
        return super().get(key, default)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Return the pairs of key and value."""
        self._read()
        return super().items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return the values."""
        self._read()
        return super().values()

    def pop(self, *args: Any) -> Any:
        """Remove a key and return its value."""
        self._read()
        return super().pop(*args)

    def copy(self) -> dict[str, Any]:
        """Return a plain dict."""
        self._read()
        return dict(super().items())

    def __eq__(self, other: object) -> bool:
        self._read()
        return super().__eq__(other)

    __hash__ = None

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __repr__(self) -> str:
        self._read()
        return super().__repr__()

    def __reduce__(self) -> Any:
        return (dict, (self.copy(),))


def _after_reading(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def read_first(self: DeviceLogs, *args: Any, **kwargs: Any) -> Any:
        self._read()  # else it would come later and undo the change
        return method(self, *args, **kwargs)

    read_first.__name__ = name
    return read_first


_CHANGES = ("__setitem__", "__delitem__", "__ior__", "update", "setdefault", "popitem", "clear")
for _name in _CHANGES:
    setattr(DeviceLogs, _name, _after_reading(_name))
