"""What a cell is, users' own included, and several cells as one.

A cell is any object with a `state_size` (an integer, or a list with one entry per state) and a
`call(inputs, states)` that returns the output and the new states. It may have an `output_size`,
a `get_initial_state(batch_size)`, and a `training` argument of `call`. `RNN` runs it over time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import dtypes, registry, settings
from torchseq.base.types import Config, Shape
from torchseq.layers.layer import Layer
from torchseq.layers.recurrent.gated import GatedCell
from torchseq.layers.recurrent.unroll import leaves


def check_cell(owner: str, cell: Any) -> None:
    """Raise ValueError unless `cell` has a `call` (or is an `nn.Module`) and a `state_size`."""
    has_call = hasattr(cell, "call") or isinstance(cell, nn.Module)
    if not has_call or not hasattr(cell, "state_size"):
        missing = "state_size" if has_call else "call"
        raise ValueError(
            f"{owner}: a cell must have a `call` method and a `state_size`, an integer or a list "
            f"of them; got {cell!r}, without `{missing}`."
        )


def casts_integers(cell: Any) -> bool:
    """Tell whether integers that a cell gets are quantities, to be cast; else it looks them up."""
    first = cell.cells[0] if isinstance(cell, StackedRNNCells) else cell
    return bool(getattr(first, "casts_integers", False))


def output_size_of(cell: Any) -> int:
    """Return the size of a cell's output: its `output_size`, or that of its first state."""
    size = getattr(cell, "output_size", None)
    return int(leaves(cell.state_size)[0] if size is None else size)


def initial_state_of(cell: Any, batch_size: int, like: Tensor | None = None) -> Any:
    """Return the first states of a cell: what it says, or zeros."""
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    dtype = dtypes.torch_dtype(getattr(cell, "compute_dtype", None)) if like is None else like.dtype
    device = settings.device() if like is None else like.device
    sizes = cell.state_size
    if isinstance(sizes, list | tuple):
        return [torch.zeros(batch_size, size, dtype=dtype, device=device) for size in sizes]
    return torch.zeros(batch_size, sizes, dtype=dtype, device=device)


def apply_cell(cell: Any, inputs: Tensor, states: Any, training: bool) -> tuple[Tensor, Any]:
    """Return the output and the new states of any cell."""
    if isinstance(cell, Layer):
        options = {"training": training} if cell._takes_training else {}
        # Past Layer.__call__, which looks at shapes and dtypes that all steps share.
        return nn.Module.__call__(cell, inputs, states, **options)  # type: ignore[no-any-return]
    output, new_states = (cell if callable(cell) else cell.call)(inputs, states)
    return output, new_states


def reset_masks(cell: Any) -> None:
    """Let the built-in cells in `cell` draw new dropout masks for the next sequence."""
    for part in cell.modules() if isinstance(cell, nn.Module) else ():
        if isinstance(part, GatedCell):
            part.reset_dropout_mask()
            part.reset_recurrent_dropout_mask()


class StackedRNNCells(Layer):
    """Makes one cell of several: each takes the output of the one before.

    Args:
        cells: list of cells.

    Raises:
        ValueError: if one of them is no cell, or there is none.

    Source: keras.layers.StackedRNNCells.
    """

    def __init__(self, cells: Any, **layer_options: Any):
        super().__init__(**layer_options)
        if not isinstance(cells, list | tuple) or not cells:
            raise ValueError(
                f"{type(self).__name__}: `cells` must be a list of at least one cell; got "
                f"cells={cells!r}."
            )
        for cell in cells:
            check_cell(type(self).__name__, cell)
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """The cells' state sizes."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The last cell's output size."""
        return output_size_of(self.cells[-1])

    def build(self, input_shape: Shape) -> None:
        """Build the cells one after the other."""
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
            input_shape = (input_shape[0], output_size_of(cell))
        self.input_spec = getattr(self.cells[0], "input_spec", None)

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Return the cells' first states."""
        batch = 0 if batch_size is None else batch_size
        return [initial_state_of(cell, batch) for cell in self.cells]

    def call(
        self, inputs: Tensor, states: Any, training: bool | None = None
    ) -> tuple[Tensor, list[Any]]:
        """Return the last cell's output and all cells' new states."""
        training = self.training if training is None else training
        new_states = []
        for cell, state in zip(self.cells, states, strict=True):
            is_list = isinstance(state, list | tuple)
            given = list(state) if is_list else [state]
            inputs, changed = apply_cell(cell, inputs, given, training)
            changed = leaves(changed)
            new_states.append(changed if is_list else changed[0])
        return inputs, new_states

    def get_config(self) -> Config:
        """Return the cells' configs."""
        return {**super().get_config(), "cells": [registry.serialize(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> StackedRNNCells:
        """Make the cells and their stack."""
        cells = [registry.deserialize(cell, custom_objects) for cell in config["cells"]]
        return cls(**{**config, "cells": cells})
