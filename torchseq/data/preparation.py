"""Shapes data before it is given to a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base.settings import floatx


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Return class numbers as one-hot rows.

    Args:
        x: class numbers from 0; a last axis of size 1 is dropped.
        num_classes: length of a row; the largest number + 1 by default.

    Shapes:
        `(...)` or `(..., 1)` -> `(..., num_classes)`

    Returns:
        A float64 array, or a tensor in floatx if `x` is a tensor.

    Raises:
        ValueError: if a number is negative or not below `num_classes`.

    Source: keras.utils.to_categorical. Keras lets negative numbers count from the end.

    Examples:
        >>> to_categorical([0, 2], num_classes=3)
        array([[1., 0., 0.],
               [0., 0., 1.]])
    """
    if isinstance(x, Tensor):
        rows = to_categorical(x.detach().cpu().numpy(), num_classes)
        return torch.as_tensor(rows, dtype=getattr(torch, floatx()), device=x.device)
    labels = np.array(x, dtype="int64")
    shape = labels.shape[:-1] if labels.ndim > 1 and labels.shape[-1] == 1 else labels.shape
    flat = labels.reshape(-1)
    size = int(num_classes) if num_classes else int(flat.max(initial=-1)) + 1
    if flat.size and (flat.min() < 0 or flat.max() >= size):
        raise ValueError(
            f"to_categorical: class numbers must be in [0, {size}); got numbers from {flat.min()} "
            f"to {flat.max()}."
        )
    rows = np.zeros((flat.size, size))
    rows[np.arange(flat.size), flat] = 1
    return rows.reshape((*shape, size))
