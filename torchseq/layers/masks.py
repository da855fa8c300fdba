"""How masks get from a layer's inputs to its outputs: as `_keras_mask` of tensors, as in Keras."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def pass_on(layer: Any, inputs: Any, outputs: Any, mask: Any) -> None:
    """Put what `layer.compute_mask` says onto the outputs, unless the call itself did.

    Args:
        layer: the layer that was called.
        inputs: what it was called on.
        outputs: what it returned: a tensor or a structure of them.
        mask: the mask that it was given, or that the input carried; None without one.
    """
    if not layer.supports_masking:
        if mask is not None:
            _warn_once(layer)
        return
    if outputs is inputs:
        return
    if mask is None and isinstance(inputs, list | tuple):
        mask = [getattr(entry, "_keras_mask", None) for entry in inputs]
        mask = mask if any(entry is not None for entry in mask) else None
    if all(getattr(output, "_keras_mask", None) is not None for output in _leaves(outputs)):
        return
    computed = layer.compute_mask(inputs, mask)
    if computed is None:
        return
    for output, each in zip(_leaves(outputs), _leaves(computed), strict=False):
        has_none = getattr(output, "_keras_mask", None) is None
        if each is not None and has_none and isinstance(output, Tensor):
            output._keras_mask = each  # type: ignore[attr-defined]


def _warn_once(layer: Any) -> None:
    """Warn that a mask ends at a layer, at its first mask; compiled code does not warn."""
    if layer._told_of_mask or layer._has_masking_layers or torch.compiler.is_compiling():
        return
    layer._told_of_mask = True
    warnings.warn(
        f"Layer {layer.name!r} (of type {type(layer).__name__}) was passed an input with a mask "
        "attached to it. But this layer does not support masking and will therefore destroy the "
        "mask information: downstream layers, losses and metrics will not see the mask. If the "
        "mask holds for its output too, set `supports_masking = True` on the layer.",
        stacklevel=3,
    )


def _leaves(structure: Any) -> Iterator[Any]:
    if isinstance(structure, list | tuple):
        for entry in structure:
            yield from _leaves(entry)
    elif isinstance(structure, dict):
        for entry in structure.values():
            yield from _leaves(entry)
    else:
        yield structure
