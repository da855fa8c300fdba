"""How many samples a stack of layers may take at once, past the size of a batch.

A small layer's call takes as long for 32 samples as for 300, and large products run faster. What
must stay small is the widest layer's output, which the next layer reads from the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from torchseq.base.module_hooks import has_hooks
from torchseq.base.types import Shape
from torchseq.layers import Layer, shapes
from torchseq.layers.alike import treats_samples_alike

_MOST = 1024
_MOST_BYTES = 1 << 20  # about what a core's second cache holds
_BYTES_OF_AN_ENTRY = 4
# With more entries torch shares an operation among threads, and where a share ends, entries that
# fill no vector go through other instructions: `sigmoid` rounds otherwise there.
_MOST_ENTRIES_OF_A_THREAD = 32768


def is_indifferent(model: Any) -> bool:
    """Tell whether a model gives each sample the same, whatever comes with it, by known code alone.

    Args:
        model: a Sequential in evaluation mode.
    """
    parts = list(model.modules())
    return not any(map(has_hooks, parts)) and all(map(_is_indifferent, parts[1:]))


def most_at_once(model: Any, sample_shape: Shape) -> int:
    """Return how many samples there may be.

    Args:
        model: a Sequential, built.
        sample_shape: of an input sample.
    """
    widest = max(_sizes(model, (None, *sample_shape)))
    entries = _MOST_BYTES // _BYTES_OF_AN_ENTRY
    if torch.get_num_threads() > 1:
        entries = min(entries, _MOST_ENTRIES_OF_A_THREAD)
    return int(min(_MOST, entries // max(widest, 1)))


def _is_indifferent(part: nn.Module) -> bool:
    if isinstance(part, Layer):
        return treats_samples_alike(part)
    return type(part).__module__.startswith(("torchseq.", "torch.nn."))


def _sizes(model: Any, shape: Any) -> Iterator[float]:
    """Yield the numbers of entries of a sample on its way; infinity where that is not known."""
    yield _size(shape)
    for layer in model.layers:
        if _is_stack(layer):
            yield from _sizes(layer, shape)
        elif any(map(_is_stack, layer.modules())):
            yield math.inf  # a wrapped stack, whose inner sizes do not show
        shape = layer.compute_output_shape(shape)
        for single in shapes.flat(shape):
            yield _size(single)


def _size(shape: Shape) -> float:
    return math.prod(math.inf if size is None else size for size in shape[1:])


def _is_stack(module: nn.Module) -> bool:
    return getattr(module, "is_stack", False)
