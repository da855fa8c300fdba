"""`RNN`: any cell over time, with states that may outlive a batch.

Source: keras.layers.RNN.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, registry
from torchseq.base.types import Config, Shape
from torchseq.base.variable import Variable, as_tensor
from torchseq.layers.input_spec import over_time
from torchseq.layers.layer import Layer
from torchseq.layers.recurrent.gated import GatedCell
from torchseq.layers.recurrent.stacked import (
    StackedRNNCells,
    apply_cell,
    casts_integers,
    check_cell,
    initial_state_of,
    output_size_of,
    reset_masks,
)
from torchseq.layers.recurrent.unroll import leaves, packed_as, time_mask, unroll


class RNN(Layer):
    """Runs a cell over the time axis, step by step.

    Args:
        cell: a cell (see `stacked`), or a list of cells, which are stacked.
        return_sequences: return the outputs of all steps; else the last one's.
        return_state: return the last states as well.
        go_backwards: process the steps from the last to the first; outputs come in that order.
        stateful: start each batch in the states in which the one before ended.
        unroll: accepted for Keras's sake; the result is the same.
        zero_output_for_mask: give zeros at masked steps; else the output of the step before.
        **layer_options: those of `Layer`; also Keras 2's `input_length`, beside `input_dim`.

    Shapes:
        `(batch, time, ...)` -> `(batch, output_size)`, or `(batch, time, output_size)` with
        return_sequences; a tuple of that and the states with return_state.
        A list of the sequences and the first states may be given instead of `initial_state=`.

    Raises:
        ValueError: if `cell` is none; if a stateful layer meets another batch size, or is built
            without one.

    Source: keras.layers.RNN. A mask may have any pattern; a masked step leaves output and states
        as they were.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **layer_options: Any,
    ):
        if isinstance(cell, list | tuple):
            cell = StackedRNNCells(cell, dtype=layer_options.get("dtype"))
        check_cell(type(self).__name__, cell)
        _read_keras_2_options(layer_options)
        super().__init__(**layer_options)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self.casts_integers = casts_integers(cell)
        self.state_size = self._checked_state_size(cell.state_size)
        self._state_structure: Any = None
        self._num_states = 0

    def _checked_state_size(self, size: Any) -> list[Any]:
        if not arguments.is_integer(size) and not isinstance(size, list | tuple):
            raise ValueError(
                f"{type(self).__name__}: the cell's `state_size` must be an integer or a list of "
                f"integers, one per state; got state_size={size!r}."
            )
        return list(size) if isinstance(size, list | tuple) else [size]

    def build(self, input_shape: Any) -> None:
        """Build the cell and, for a stateful layer, make its states."""
        shape = _sequences_shape(input_shape)
        self._check_shape(shape)
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((shape[0], *shape[2:]))
        spec = over_time(getattr(self.cell, "input_spec", None))
        self.input_spec = self.input_spec if spec is None else spec
        if self.stateful:
            self._make_states(shape)

    # --- Calling -------------------------------------------------------------------------------

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Process the sequences.

        Args:
            sequences: `(batch, time, ...)`, or a list of that and the first states.
            initial_state: the first states; zeros, or a stateful layer's own, by default.
            mask: `(batch, time)`, False where a step is to be skipped.
            training: whether dropout is applied; by default the layer's own mode.
        """
        if isinstance(sequences, list | tuple):
            sequences, *initial_state = sequences
            mask = getattr(sequences, "_keras_mask", None) if mask is None else mask
        training = self.training if training is None else training
        states = self._first_states(sequences, initial_state)
        mask = time_mask(type(self).__name__, mask)
        if training:
            reset_masks(self.cell)
        outputs, states = self.run(sequences, states, mask, training)
        if training:
            reset_masks(self.cell)
        if self.stateful:
            self._keep_states(states)
        output = outputs if self.return_sequences else outputs[:, -1]
        return (output, *states) if self.return_state else output

    def run(
        self, sequences: Tensor, states: list[Any], mask: Tensor | None, training: bool
    ) -> tuple[Tensor, list[Any]]:
        """Run the cell over time.

        Returns:
            The outputs of all steps, or of the last if that is enough, `(batch, time, ...)`, and
            the last states.
        """
        if self.go_backwards:
            sequences = sequences.flip(1)
            mask = None if mask is None else mask.flip(1)
        inputs = sequences.transpose(0, 1)  # (time, batch, ...)
        cell = self.cell
        if isinstance(cell, GatedCell) and type(cell).call is GatedCell.call:
            inputs = cell.project(inputs, training)  # for all steps at once

            def step(inputs_now: Tensor, states_now: Any) -> tuple[Tensor, Any]:
                return cell.step(inputs_now, states_now, training)
        else:

            def step(inputs_now: Tensor, states_now: Any) -> tuple[Tensor, Any]:
                return apply_cell(cell, inputs_now, states_now, training)

        outputs, states = unroll(step, inputs, states, mask, self.zero_output_for_mask)
        return torch.stack(outputs if self.return_sequences else outputs[-1:], dim=1), states

    def _first_states(self, sequences: Tensor, given: Any) -> list[Any]:
        if self.stateful and sequences.shape[0] != self._state_batch_size:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): a stateful layer must get batches "
                f"of one size, that of its states, {self._state_batch_size}; got a batch of "
                f"{sequences.shape[0]}. Drop or pad the last batch, or make the layer anew."
            )
        if given is None:
            if self.stateful:
                return self._own_states()
            states = initial_state_of(self.cell, sequences.shape[0], sequences)
        else:
            states = given
        states = list(states) if isinstance(states, list | tuple) else [states]
        if len(states) != len(self.state_size):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): `initial_state` must have one entry "
                f"per state, {len(self.state_size)}; got {len(states)}."
            )
        policy = getattr(self.cell, "dtype_policy", self.dtype_policy)
        is_mixed = policy.compute_dtype != policy.variable_dtype  # then this layer's policy rules
        dtype = dtypes.torch_dtype(self.compute_dtype if is_mixed else policy.compute_dtype)
        placed = [as_tensor(state).to(sequences.device, dtype) for state in leaves(states)]
        return packed_as(states, placed)  # type: ignore[no-any-return]

    # --- States that outlive a batch -----------------------------------------------------------

    # They are buffers, so that they move with the layer, that no file and no `weights` has.

    def _make_states(self, shape: Shape) -> None:
        if shape[0] is None:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): with stateful=True the batch size "
                f"must be known; got an input of shape {shape}. Give it: "
                "`Input(shape, batch_size=32)`."
            )
        self._state_batch_size = shape[0]
        structure = initial_state_of(self.cell, shape[0])
        self._state_structure = structure if isinstance(structure, list | tuple) else [structure]
        states = leaves(self._state_structure)
        self._state_structure = packed_as(self._state_structure, list(range(len(states))))
        self._num_states = len(states)
        for index, state in enumerate(states):
            self.register_buffer(f"state_{index}", state.detach().clone(), persistent=False)

    def _own_states(self) -> list[Any]:
        # Copies: the buffers change while autograd still needs what they held.
        copies = [getattr(self, f"state_{index}").clone() for index in range(self._num_states)]
        return packed_as(self._state_structure, copies)  # type: ignore[no-any-return]

    def _keep_states(self, states: Any) -> None:
        with torch.no_grad():
            for index, state in enumerate(leaves(states)):
                getattr(self, f"state_{index}").copy_(state)

    @property
    def states(self) -> list[Any] | None:
        """A stateful layer's current states, once built; else None."""
        if not self._num_states:
            return None
        names = [f"state_{index}" for index in range(self._num_states)]
        variables = [Variable.over(self, name, "rnn_state") for name in names]
        return packed_as(self._state_structure, variables)  # type: ignore[no-any-return]

    def reset_state(self, states: Any = None) -> None:
        """Set a stateful layer's states to the given ones, to zeros by default."""
        own = leaves(self.states or [])
        values = [torch.zeros_like(state.tensor) for state in own]
        for state, value in zip(own, values if states is None else leaves(states), strict=True):
            state.assign(value)

    reset_states = reset_state

    # --- Shapes, masks, config -----------------------------------------------------------------

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape, followed by the states' with return_state."""
        batch, time = _sequences_shape(input_shape)[:2]
        size = output_size_of(self.cell)
        output = (batch, time, size) if self.return_sequences else (batch, size)
        return (output, *self._state_shapes(batch)) if self.return_state else output

    def _state_shapes(self, batch: int | None) -> list[Any]:
        return [
            [(batch, entry) for entry in size] if isinstance(size, list | tuple) else (batch, size)
            for size in self.state_size
        ]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the output, and None for each state."""
        mask = previous_mask[0] if isinstance(previous_mask, list | tuple) else previous_mask
        mask = mask if self.return_sequences else None
        return [mask, *[None] * len(self.state_size)] if self.return_state else mask

    def get_config(self) -> Config:
        """Return the constructor's arguments, the cell as a config."""
        return super().get_config()

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Any:
        """Make the cell and the layer."""
        if "cell" in config:
            config = {**config, "cell": registry.deserialize(config["cell"], custom_objects)}
        return cls(**config)


def _sequences_shape(shape: Any) -> Shape:
    """Return the shape of the sequences, where that of a list of inputs may have come."""
    if shape and isinstance(shape[0], list | tuple):
        shape = shape[0]
    return tuple(shape)


def _read_keras_2_options(options: dict[str, Any]) -> None:
    """Make `input_shape` of Keras 2's `input_length` and `input_dim`."""
    length = options.pop("input_length", None)
    if "input_dim" in options:
        options.setdefault("input_shape", (length, options.pop("input_dim")))
