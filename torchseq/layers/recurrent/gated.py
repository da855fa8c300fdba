"""What the built-in cells share: weights in torch's layout, and dropout for a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchseq.base import arguments, dtypes, settings
from torchseq.base.types import Identifier, Shape
from torchseq.layers import randomness
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer


class GatedCell(Layer):
    """What the built-in cells share: two weight matrices or kernels, a bias, dropout masks.

    A subclass says how many `num_gates` it has, builds `weight_ih`, `weight_hh` and `bias` in
    torch's layout, gates first, and defines `project`, `step` and `get_initial_state`.
    """

    casts_integers = True
    num_gates = 1
    draws_seed_first = False  # Keras draws SimpleRNN's dropout seed before the initializers'
    state_size: Any
    output_size: int
    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    bias: Any  # the Variable over the parameter of that name
    _dropout_masks: list[Tensor] | None
    _recurrent_masks: list[Tensor] | None

    def __init__(
        self,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        recurrent_initializer: Identifier = "orthogonal",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        recurrent_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_options: Any,
    ):
        layer_options.pop("implementation", None)  # Keras 2's choice between equal computations
        self.owner = str(layer_options.pop("owner", type(self).__name__))  # whom errors name
        super().__init__(**layer_options)
        # Before or after the initializers, whose seeds come from the same stream.
        stream = randomness.stream_of(self.owner, seed) if self.draws_seed_first else None
        self.use_bias = use_bias
        self.resolve(
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )
        self.dropout = float(arguments.fraction(self.owner, "dropout", dropout))
        self.recurrent_dropout = float(
            arguments.fraction(self.owner, "recurrent_dropout", recurrent_dropout)
        )
        self.stream = stream if self.draws_seed_first else randomness.stream_of(self.owner, seed)
        self.seed = seed
        self.reset_dropout_mask()
        self.reset_recurrent_dropout_mask()

    def _name_in_errors(self) -> str:
        return self.owner

    # A weight named `recurrent_kernel` looks for its options under that name.

    @property
    def recurrent_kernel_initializer(self) -> Any:
        """The `recurrent_initializer`."""
        return self.recurrent_initializer

    @property
    def recurrent_kernel_regularizer(self) -> Any:
        """The `recurrent_regularizer`."""
        return self.recurrent_regularizer

    @property
    def recurrent_kernel_constraint(self) -> Any:
        """The `recurrent_constraint`."""
        return self.recurrent_constraint

    @property
    def device(self) -> torch.device:
        """Where the weights are, or will be made."""
        return self.weight_ih.device if self.built else settings.device()

    def parameter(self, *shape: int) -> nn.Parameter:
        """Return a parameter in the layer's dtype, for an initializer to fill."""
        dtype = dtypes.torch_dtype(self.variable_dtype)
        return nn.Parameter(torch.empty(shape, dtype=dtype, device=settings.device()))

    def forget_one(self, units: int) -> None:
        """Give the forget gate's bias the value 1, and the rest that of the initializer."""
        if self.bias.tensor.device.type == "meta":
            return
        options = {"dtype": self.variable_dtype}
        first = self.bias_initializer((units,), **options)
        rest = self.bias_initializer((2 * units,), **options)
        self.bias.assign(torch.cat([first, torch.ones_like(first), rest]))

    # --- One step ------------------------------------------------------------------------------

    def call(
        self, inputs: Tensor, states: Any, training: bool | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output and the new states of one step.

        Args:
            inputs: of one step, batch first.
            states: list of the states before it.
            training: whether to drop entries; by default the layer's own mode.
        """
        states = list(states) if isinstance(states, list | tuple) else [states]
        training = self.training if training is None else training
        return self.step(self.project(inputs, training), states, training)

    def project(self, inputs: Tensor, training: bool) -> Tensor:
        """Return what the inputs, of one step or with the time axis first, add to the gates."""
        raise NotImplementedError

    def step(
        self, projected: Tensor, states: list[Tensor], training: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output and the new states, given what the inputs add to the gates."""
        raise NotImplementedError

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        """Return states of zeros for a batch."""
        dtype = dtypes.torch_dtype(self.compute_dtype)
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        batch = 0 if batch_size is None else batch_size
        return [torch.zeros(batch, size, dtype=dtype, device=self.device) for size in sizes]

    # --- Dropout: the same entries at all steps of a sequence -------------------------------------

    def get_dropout_mask(self, step_input: Tensor) -> list[Tensor] | None:
        """Return the sequence's masks for the inputs: one for all gates, or one per gate.

        Drawn at the first call after `reset_dropout_mask`; None if `dropout` is 0.
        """
        if self._dropout_masks is None and self.dropout:
            self._dropout_masks = self._draw_masks(step_input, self.dropout)
        return self._dropout_masks

    def get_recurrent_dropout_mask(self, step_input: Tensor) -> list[Tensor] | None:
        """Return the sequence's masks for the hidden state; None if `recurrent_dropout` is 0."""
        if self._recurrent_masks is None and self.recurrent_dropout:
            self._recurrent_masks = self._draw_masks(step_input, self.recurrent_dropout)
        return self._recurrent_masks

    def reset_dropout_mask(self) -> None:
        """Forget the masks for the inputs; a new sequence begins."""
        self._dropout_masks = None

    def reset_recurrent_dropout_mask(self) -> None:
        """Forget the masks for the hidden state; a new sequence begins."""
        self._recurrent_masks = None

    def num_masks(self) -> int:
        """Return how many masks a sequence has: with recurrent dropout each gate its own."""
        return self.num_gates if self.recurrent_dropout else 1

    def _draw_masks(self, like: Tensor, rate: float) -> list[Tensor]:
        keep = 1.0 - rate
        masks = [
            randomness.bernoulli(self.stream, keep, like.shape, like)
            for _ in range(self.num_masks())
        ]
        return [mask / keep for mask in masks] if keep else masks

    def __getstate__(self) -> dict[str, Any]:
        forgotten = {"_dropout_masks": None, "_recurrent_masks": None}
        return {**super().__getstate__(), **forgotten}


class DenseCell(GatedCell):
    """A built-in cell on vectors: inputs and hidden state go through matrices.

    Subclasses say which of torch's fused kernels computes the same, if any.
    """

    units: int

    def make_weights(self, input_shape: Shape) -> None:
        """Make the two weight matrices for inputs of `(batch, features)`."""
        violation = InputSpec(ndim=2).violation(input_shape)
        if violation or input_shape[-1] is None:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): the input of one step must have 2 "
                f"axes, the last of a known size; got shape {tuple(input_shape)}."
            )
        rows = self.num_gates * self.units
        self.weight_ih = self.parameter(rows, input_shape[-1])
        self.weight_hh = self.parameter(rows, self.units)
        self.input_spec = InputSpec(ndim=2, axes={-1: input_shape[-1]})

    @property
    def fused_kernel(self) -> str | None:
        """Name of torch's fused kernel that computes this cell; None if none does."""
        return None

    def fused_weights(self) -> list[Tensor]:
        """Return the weights as the fused kernel takes them; Keras's one bias is torch's first."""
        if not self.use_bias:
            return [self.weight_ih, self.weight_hh]
        bias = self.bias.tensor
        return [self.weight_ih, self.weight_hh, bias, torch.zeros_like(bias)]

    def input_bias(self) -> Tensor | None:
        """Return the bias that is added to the projected inputs."""
        bias: Tensor | None = self.bias.tensor if self.use_bias else None
        return bias

    def project(self, inputs: Tensor, training: bool) -> Tensor:
        masks = self.get_dropout_mask(_one_step(inputs)) if training else None
        return self._linear(inputs, self.weight_ih, self.input_bias(), masks)

    def recurrent_masks(self, hidden: Tensor, training: bool) -> list[Tensor] | None:
        """Return the dropout masks for the hidden state in training."""
        return self.get_recurrent_dropout_mask(hidden) if training else None

    def _linear(
        self, inputs: Tensor, weight: Tensor, bias: Tensor | None, masks: list[Tensor] | None
    ) -> Tensor:
        """Apply a weight matrix, to the inputs under each gate's mask."""
        if masks is None:
            return F.linear(inputs, weight, bias)
        if len(masks) == 1:
            return F.linear(inputs * masks[0], weight, bias)
        pairs = zip(masks, weight.chunk(len(masks)), strict=True)
        sums = torch.cat([F.linear(inputs * mask, part) for mask, part in pairs], dim=-1)
        return sums if bias is None else sums + bias


def _one_step(inputs: Tensor) -> Tensor:
    return inputs[0] if inputs.ndim == 3 else inputs
