"""Activations as layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchseq import activations
from torchseq.base.types import Identifier, Shape
from torchseq.layers.layer import Layer


class Activation(Layer):
    """Applies an activation function to each entry.

    Args:
        activation: name, config or callable.

    Shapes:
        any -> the same

    Source: keras.layers.Activation.
    """

    def __init__(self, activation: Identifier, **layer_options: Any):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.activation = activations.get(activation)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Compute the activation."""
        return self.activation(inputs)  # type: ignore[no-any-return]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape
