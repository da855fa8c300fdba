"""Weights of classes -> weights of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, settings


class ClassWeights:
    """Looks up each sample's weight by its class; classes that are not named weigh 1.

    Args:
        owner: the method that errors name.
        class_weight: class index -> weight.

    Raises:
        ValueError: if it is no dict of integers of at least 0 and numbers.

    Examples:
        >>> import torch
        >>> ClassWeights("fit", {1: 3.0}).of(torch.tensor([0, 1, 1]))
        tensor([1., 3., 3.])
    """

    def __init__(self, owner: str, class_weight: Any):
        self.owner = owner
        self._table = _table(owner, class_weight)

    def of(self, y: Tensor | None, weight: Tensor | None = None) -> Tensor:
        """Return the weights of samples with the targets `y`.

        Raises:
            ValueError: if there are no targets, or the samples have weights already.
        """
        if weight is not None:
            raise ValueError(
                f"{self.owner}: `class_weight` and `sample_weight` cannot both be given."
            )
        if y is None:
            raise ValueError(f"{self.owner}: `class_weight` needs targets; got y=None.")
        self._table = self._table.to(y.device)
        other = len(self._table) - 1
        labels = _class_numbers(y)
        return self._table[torch.where((labels < 0) | (labels > other), other, labels)]


def _table(owner: str, class_weight: Any) -> Tensor:
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            f"{owner}: `class_weight` must be a dict of class index -> weight; got "
            f"{class_weight!r}."
        )
    if any(not arguments.is_integer(key) or key < 0 for key in class_weight):
        raise ValueError(
            f"{owner}: the keys of `class_weight` must be class indices, integers of at least 0; "
            f"got {sorted(class_weight, key=str)}."
        )
    if any(not isinstance(value, int | float | np.number) for value in class_weight.values()):
        raise ValueError(
            f"{owner}: the values of `class_weight` must be numbers; got {dict(class_weight)}."
        )
    other = max([-1, *class_weight]) + 1  # where classes that are not named find their 1
    table = torch.ones(int(other) + 1, dtype=dtypes.torch_dtype(settings.floatx()))
    for key, value in class_weight.items():
        table[int(key)] = float(value)
    return table


def _class_numbers(y: Tensor) -> Tensor:
    """Return the classes of one-hot rows or of numbers that stand alone or in a last axis of 1."""
    if y.ndim > 1 and y.shape[-1] != 1:
        return y.to(torch.float64).argmax(-1)
    labels = y.squeeze(-1) if y.ndim > 1 else y
    return labels.round().long() if labels.is_floating_point() else labels.long()
