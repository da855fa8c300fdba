"""Activations as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq import activations
from torchseq.base import arguments
from torchseq.base.types import Identifier, Shape
from torchseq.layers.input_spec import InputSpec, check_axes
from torchseq.layers.layer import Layer

_MASKED_LOGIT = -1e9
_MASKED_LOGIT_FLOAT16 = -3e4


class _Elementwise(Layer):
    """Base of the layers that compute each entry from one entry, without weights."""

    def __init__(self, **layer_options: Any):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape


class Activation(_Elementwise):
    """Applies an activation function to each entry.

    Args:
        activation: name, config or callable.

    Shapes:
        any -> the same

    Source: keras.layers.Activation.
    """

    def __init__(self, activation: Identifier, **layer_options: Any):
        super().__init__(**layer_options)
        self.resolve(activation=activation)

    def call(self, inputs: Tensor) -> Tensor:
        """Compute the activation."""
        return self.activation(inputs)  # type: ignore[no-any-return]


class ReLU(_Elementwise):
    """Rectified linear unit: `max(x, 0)`.

    Args:
        max_value: the largest value returned; at least 0, None for no limit.
        negative_slope: slope below `threshold`; at least 0.
        threshold: values up to it count as negative; at least 0.

    Shapes:
        any -> the same

    Raises:
        ValueError: if an argument is negative.

    Source: keras.layers.ReLU.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        if max_value is not None:
            arguments.number(self, "max_value", max_value, minimum=0)
        self.max_value = max_value
        self.negative_slope = arguments.number(self, "negative_slope", negative_slope, minimum=0)
        self.threshold = arguments.number(self, "threshold", threshold, minimum=0)

    def call(self, inputs: Tensor) -> Tensor:
        """Compute the activation."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(_Elementwise):
    """Returns `x` where it is positive, else `negative_slope * x`.

    Args:
        negative_slope: at least 0. The activation function of this name has another default.

    Shapes:
        any -> the same

    Raises:
        ValueError: if `negative_slope` is negative.

    Source: keras.layers.LeakyReLU. Its old argument `alpha` is taken too.
    """

    def __init__(self, negative_slope: float = 0.3, **layer_options: Any):
        negative_slope = layer_options.pop("alpha", negative_slope)  # Keras 1 and 2
        super().__init__(**layer_options)
        self.negative_slope = arguments.number(self, "negative_slope", negative_slope, minimum=0)

    def call(self, inputs: Tensor) -> Tensor:
        """Compute the activation."""
        return activations.leaky_relu(inputs, self.negative_slope)


class ELU(_Elementwise):
    """Returns `x` where it is positive, else `alpha * (exp(x) - 1)`.

    Args:
        alpha: the limit is `-alpha`.

    Shapes:
        any -> the same

    Raises:
        ValueError: if `alpha` is no number.

    Source: keras.layers.ELU.
    """

    def __init__(self, alpha: float = 1.0, **layer_options: Any):
        super().__init__(**layer_options)
        self.alpha = arguments.number(self, "alpha", alpha)

    def call(self, inputs: Tensor) -> Tensor:
        """Compute the activation."""
        return activations.elu(inputs, self.alpha)


class Softmax(_Elementwise):
    """Softmax: `exp(x) / sum(exp(x))`, so that values along `axis` add up to 1.

    Args:
        axis: one axis, or several that are normalized together.

    Shapes:
        any -> the same. A mask broadcasts to the input; what it masks gives 0.

    Raises:
        TypeError: if `axis` is neither an integer nor a list of integers.
        ValueError: if the input has no such axis.

    Source: keras.layers.Softmax. A mask that comes with the input, from Masking or Embedding, is
        one of the input's first axes, where Keras refuses it.
    """

    def __init__(self, axis: int | Sequence[int] = -1, **layer_options: Any):
        super().__init__(**layer_options)
        self.axis = arguments.axis_or_axes(self, axis)

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the activation."""
        axis = self.axis if isinstance(self.axis, int) else tuple(self.axis)
        if mask is None:
            return activations.softmax(inputs, axis)
        came_with: Any = getattr(inputs, "_keras_mask", None)
        if came_with is mask:
            mask = mask.reshape(*mask.shape, *[1] * (inputs.ndim - mask.ndim))
        kept = mask if mask.dtype is torch.bool else mask > 0.5
        is_short = inputs.dtype is torch.float16
        logits = torch.where(kept, inputs, _MASKED_LOGIT_FLOAT16 if is_short else _MASKED_LOGIT)
        return torch.where(kept, activations.softmax(logits, axis), 0.0)

    def _check_shape(self, shape: Shape) -> None:
        super()._check_shape(shape)
        check_axes(self, [self.axis] if isinstance(self.axis, int) else self.axis, shape)


class PReLU(Layer):
    """Returns `x` where it is positive, else `alpha * x`, with an alpha learned per position.

    Args:
        alpha_initializer: name, config or callable.
        alpha_regularizer: penalty on the weight.
        alpha_constraint: projection of the weight after each update.
        shared_axes: axes along which one alpha serves all positions; the batch axis is 0.

    Shapes:
        any -> the same

    Raises:
        ValueError: if one of `shared_axes` is not there, or another axis has no known size.

    Source: keras.layers.PReLU.
    """

    casts_integers = True

    def __init__(
        self,
        alpha_initializer: Identifier = "Zeros",
        alpha_regularizer: Identifier = None,
        alpha_constraint: Identifier = None,
        shared_axes: int | Sequence[int] | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.resolve(
            alpha_initializer=alpha_initializer,
            alpha_regularizer=alpha_regularizer,
            alpha_constraint=alpha_constraint,
        )
        self.shared_axes = _checked_axes(shared_axes)

    def build(self, input_shape: Shape) -> None:
        """Make alpha."""
        shared = self.shared_axes or []
        shape = [1 if axis in shared else size for axis, size in enumerate(input_shape)][1:]
        if None in shape or max(shared, default=0) >= len(input_shape):
            raise ValueError(
                f"Layer {self.name!r} (PReLU): `shared_axes` must name axes of the input, and the "
                f"other axes must have known sizes; got shared_axes={self.shared_axes} for an "
                f"input of shape {tuple(input_shape)}."
            )
        self.alpha = self.add_weight(
            shape=tuple(shape),
            name="alpha",
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        fixed = {axis: input_shape[axis] for axis in range(1, len(input_shape))}
        fixed = {axis: size for axis, size in fixed.items() if axis not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=fixed)

    def call(self, inputs: Tensor) -> Tensor:
        """Compute the activation."""
        alpha = self.alpha.tensor.to(inputs.dtype)
        return torch.relu(inputs) - alpha * torch.relu(-inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape


def _checked_axes(axes: Any) -> list[int] | None:
    if axes is None:
        return None
    entries = list(axes) if isinstance(axes, list | tuple) else [axes]
    if not all(arguments.is_integer(axis) and axis > 0 for axis in entries):
        raise ValueError(
            "PReLU: `shared_axes` must be axes from 1 on, the batch axis being 0; got "
            f"shared_axes={axes!r}."
        )
    return [int(axis) for axis in entries]
