"""Numbers of a step, computed on the host and rounded as Keras rounds them.

Keras computes `1 - beta**step` in the dtype of the weights. It is small at first, so that float32
and float64 differ by up to 3e-5 there, which stays in the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def number_type(dtype: torch.dtype) -> Any:
    """Return the NumPy type in which a step's numbers for weights of this dtype are computed."""
    return np.float64 if dtype is torch.float64 else np.float32


def correction(beta: float, step: int, dtype: torch.dtype) -> Any:
    """Return `1 - beta**step`: what is missing in a moving average that started from zero.

    Args:
        beta: weight of the old average.
        step: number of averaged values, from 1.
        dtype: of the weights.
    """
    number = number_type(dtype)
    return number(1) - number(beta) ** number(step)
