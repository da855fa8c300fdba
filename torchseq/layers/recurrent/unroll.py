"""Runs any cell over time, one step after the other, and keeps masked steps as they were.

States may be tensors or nested lists of tensors, as stacked cells have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from torchseq.base.variable import as_tensor

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]  # inputs, states -> output, new states


def unroll(
    step: Step, inputs: Tensor, states: Any, mask: Tensor | None, zero_masked: bool
) -> tuple[list[Tensor], Any]:
    """Apply `step` to one time step after the other.

    Args:
        step: takes the inputs of a step and a list of states; returns an output and new states.
        inputs: time first, `(time, batch, ...)`.
        states: list of first states.
        mask: `(batch, time)`, False where a step is to be skipped; None skips none.
        zero_masked: give zeros at skipped steps; else the output before, which is zeros at first.

    Returns:
        The outputs of all steps, and the states after the last one that was not skipped.
    """
    outputs: list[Tensor] = []
    for time, inputs_now in enumerate(inputs.unbind(0)):
        output, new_states = step(inputs_now, states)
        if mask is None:
            states = packed_as(states, leaves(new_states))
        else:
            kept = mask[:, time]
            skipped = torch.zeros_like(output) if zero_masked or not outputs else outputs[-1]
            output = where(kept, output, skipped)
            pairs = zip(leaves(new_states), leaves(states), strict=True)
            states = packed_as(states, [where(kept, new, old) for new, old in pairs])
        outputs.append(output)
    return outputs, states


def where(kept: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return `new` in the rows in which `kept`, of shape `(batch,)`, is True, else `old`."""
    return torch.where(kept.reshape(-1, *[1] * (new.ndim - 1)), new, old.to(new.dtype))


def time_mask(owner: str, mask: Any) -> Tensor | None:
    """Return a mask of any dtype, with trailing axes of size 1 or without, as bool (batch, time).

    Raises:
        ValueError: if it has other axes.
    """
    if isinstance(mask, list | tuple):
        mask = mask[0]
    if mask is None:
        return None
    mask = as_tensor(mask)
    if mask.ndim < 2 or any(size != 1 for size in mask.shape[2:]):
        raise ValueError(
            f"{owner}: `mask` must have shape (batch, time); got shape {tuple(mask.shape)}."
        )
    mask_of_steps: Tensor = mask.reshape(mask.shape[:2])
    return mask_of_steps.bool()  # (batch, time)


def leaves(structure: Any) -> list[Any]:
    """Return the entries of nested lists and tuples in one list."""
    return list(_leaves(structure))


def _leaves(structure: Any) -> Iterator[Any]:
    if isinstance(structure, list | tuple):
        for entry in structure:
            yield from _leaves(entry)
    else:
        yield structure


def packed_as(structure: Any, entries: list[Any]) -> Any:
    """Return the entries in nested lists of the form of `structure`."""
    return _packed(structure, iter(entries))


def _packed(structure: Any, entries: Iterator[Any]) -> Any:
    if isinstance(structure, list | tuple):
        return [_packed(part, entries) for part in structure]
    return next(entries)
