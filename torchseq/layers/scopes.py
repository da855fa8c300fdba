"""What holds for a call and all the calls inside it: whose losses count, and in which precision.

Both are off the path of an ordinary call: without losses and mixed dtype policies, a layer looks at
two lists of one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from torchseq.base import variable

losses_in_use = [False]  # whether any layer of the process ever had a loss of its own
active_region: list[Region | None] = [None]  # of the layer being called
changes = [0]  # how often a layer got what its calls look at, such as a dtype policy
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


class Region(Enum):
    """How a layer with a mixed policy computes: in which dtype, and who casts its weights to it.

    torch's autocast casts what goes into matrix products; layers of torchseq are written for that.
    A layer written in Keras's way computes as it does in Keras: its weights are cast where it reads
    them, and torch leaves everything else as it is.
    """

    AUTOCAST_FLOAT16 = (torch.float16, True)
    AUTOCAST_BFLOAT16 = (torch.bfloat16, True)
    READS_FLOAT16 = (torch.float16, False)
    READS_BFLOAT16 = (torch.bfloat16, False)


@contextmanager
def precision(region: Region | None, inputs: Any) -> Iterator[None]:
    """Let calls inside compute as a mixed policy says; None: in the dtype of the weights."""
    device = _device_type(inputs)
    dtype, is_autocast = (None, False) if region is None else region.value
    before = active_region[0], variable.reading_dtype[0]
    active_region[0] = region
    variable.reading_dtype[0] = None if is_autocast else dtype
    try:
        if device == "meta":  # shapes are being found: the weights have been cast already
            yield
        else:
            with torch.autocast(device, dtype=dtype, enabled=is_autocast):
                yield
    finally:
        active_region[0], variable.reading_dtype[0] = before


def _device_type(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return inputs.device.type
    if isinstance(inputs, dict):
        inputs = list(inputs.values())
    if not isinstance(inputs, list | tuple):
        return "cpu"
    return next((_device_type(entry) for entry in inputs), "cpu")


def as_dtype(outputs: Any, dtype: torch.dtype) -> Any:
    """Return the floating tensors of a structure in `dtype`."""
    if isinstance(outputs, Tensor):
        return outputs.to(dtype) if outputs.is_floating_point() else outputs
    if isinstance(outputs, dict):
        return {key: as_dtype(value, dtype) for key, value in outputs.items()}
    if type(outputs) in (list, tuple):
        return type(outputs)(as_dtype(value, dtype) for value in outputs)
    return outputs
