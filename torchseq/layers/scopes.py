"""What holds for a call and all the calls inside it: whose losses count, and in which precision.

Both are off the path of an ordinary call: without losses and mixed dtype policies, a layer looks at
two lists of one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

losses_in_use = [False]  # whether any layer of the process ever had a loss of its own
active_precision: list[torch.dtype | None] = [None]  # set by the mixed layer being called
_is_inside_call = [False]


def starts_losses() -> bool:
    """Tell whether a call that starts now is the outermost, and layers may have losses."""
    return losses_in_use[0] and not _is_inside_call[0]


@contextmanager
def outermost_call(clear: Callable[[], None]) -> Iterator[None]:
    """Forget the losses of the call before; calls inside keep theirs."""
    clear()
    _is_inside_call[0] = True
    try:
        yield
    finally:
        _is_inside_call[0] = False


@contextmanager
def precision(dtype: torch.dtype | None, inputs: Any) -> Iterator[None]:
    """Compute in `dtype` with weights that stay float32, as a mixed policy says; None: do not."""
    device = inputs.device.type if isinstance(inputs, Tensor) else "cpu"
    before = active_precision[0]
    active_precision[0] = dtype
    try:
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            yield
    finally:
        active_precision[0] = before


@contextmanager
def precision_ignored(dtype: torch.dtype | None) -> Iterator[None]:
    """Let calls inside run as they are, where the weights have been cast to `dtype` already."""
    before = active_precision[0]
    active_precision[0] = dtype
    try:
        yield
    finally:
        active_precision[0] = before


def as_dtype(outputs: Any, dtype: torch.dtype) -> Any:
    """Return the floating tensors of a structure in `dtype`."""
    if isinstance(outputs, Tensor):
        return outputs.to(dtype) if outputs.is_floating_point() else outputs
    if isinstance(outputs, dict):
        return {key: as_dtype(value, dtype) for key, value in outputs.items()}
    if type(outputs) in (list, tuple):
        return type(outputs)(as_dtype(value, dtype) for value in outputs)
    return outputs
