"""Layers in a row, called past what each call checks where a call before has checked it.

A layer's call looks at the input's type, shape, dtype, mask and hooks: about as long as the kernel
of a small layer takes. In a row of layers all of it follows from the input of the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import module_hooks
from torchseq.layers import scopes
from torchseq.layers.layer import Layer


class Chain:
    """What layers compute from inputs like one that went through them.

    Args:
        layers: in order; none of them makes or takes a mask.
        dtypes: of the input of each.
    """

    def __init__(self, layers: Sequence[Layer], dtypes: Sequence[torch.dtype | None]):
        self.dtype = dtypes[0]
        self._changes = scopes.changes[0]
        pairs = zip(layers, dtypes, strict=True)
        self._steps = [_step(layer) if _is_plain(layer, d) else (layer, None) for layer, d in pairs]
        modules = [module for layer in layers for module in layer.modules()]
        own = [hooks for module in modules for hooks in module_hooks.hooks_of(module)]
        self._hooks = (*module_hooks.GLOBAL, *own)

    def __deepcopy__(self, memo: Any) -> None:
        """Return nothing: a copy of the model makes its own."""

    def __reduce__(self) -> Any:
        return type(None), ()

    def is_valid(self) -> bool:
        """Tell whether nothing has changed that a call would look at."""
        return (
            self._changes == scopes.changes[0]
            and not scopes.losses_in_use[0]
            and not any(self._hooks)
        )

    def __call__(self, inputs: Tensor) -> Any:
        """Return what the layers make of inputs of the same shape, but for the batch, and dtype."""
        outputs: Any = inputs
        for call, layer in self._steps:
            outputs = call(outputs) if layer is None else call(outputs, training=layer.training)
        return outputs


def can_chain(layers: Sequence[Any]) -> bool:
    """Tell whether no layer has to do with masks, which travel on tensors from call to call."""
    return all(
        isinstance(layer, Layer) and not layer._makes_mask and not layer._takes_mask
        for layer in layers
    )


def _is_plain(layer: Layer, dtype: torch.dtype | None) -> bool:
    """Tell whether a call of the layer on this dtype comes down to its `forward`."""
    return (
        type(layer).__call__ is Layer.__call__
        and layer.built
        and layer._region is scopes.active_region[0]
        and layer._output_dtype is None
        and layer.activity_regularizer is None
        and dtype is layer._compute_dtype
    )


def _step(layer: Layer) -> tuple[Callable[..., Any], Layer | None]:
    return layer.bare(), layer if layer._takes_training else None
