"""How many samples a stack of layers may take at once, past the size of a batch.

A small layer's call takes as long for 32 samples as for 300, and large products run faster. What
must stay small is the widest layer's output, which the next layer reads from the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import nn

from torchseq.base.module_hooks import has_hooks
from torchseq.base.types import Shape
from torchseq.layers import Layer, shapes
from torchseq.layers.alike import treats_samples_alike

_MOST = 1024
_MOST_BYTES = 1 << 20  # about what a core's second cache holds
_BYTES_OF_AN_ENTRY = 4


def most_at_once(model: Any, sample_shape: Shape) -> int:
    """Return the number of samples; 0 if batches must stay as they are.

    Args:
        model: a Sequential in evaluation mode, built.
        sample_shape: of an input sample.
    """
    parts = list(model.modules())
    if any(map(has_hooks, parts)) or not all(_is_indifferent(part) for part in parts[1:]):
        return 0
    widest = max(_sizes(model, (None, *sample_shape)))
    return int(min(_MOST, _MOST_BYTES // (_BYTES_OF_AN_ENTRY * max(widest, 1))))


def _is_indifferent(part: nn.Module) -> bool:
    """Tell whether a module in a model gives each sample the same, whatever comes with it."""
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
