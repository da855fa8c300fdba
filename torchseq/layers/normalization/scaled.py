"""What normalizations share: scale and offset, axes, and the dtype they compute in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, dtypes
from torchseq.base.types import Identifier, Shape
from torchseq.base.variable import Variable
from torchseq.layers.input_spec import InputSpec, check_axes
from torchseq.layers.layer import Layer


class Scaled(Layer):
    """Base of the normalizations that end in `normalized * gamma + beta`.

    Args:
        epsilon: added to the variance, so that its root can divide.
        center: learn `beta` and add it.
        scale: learn `gamma` and multiply by it.
        beta_initializer, gamma_initializer: name, config or callable.
        beta_regularizer, gamma_regularizer: penalty on the weight.
        beta_constraint, gamma_constraint: projection of the weight after each update.
    """

    gamma: Variable | None
    beta: Variable | None

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Identifier,
        gamma_initializer: Identifier,
        beta_regularizer: Identifier,
        gamma_regularizer: Identifier,
        beta_constraint: Identifier,
        gamma_constraint: Identifier,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.epsilon = arguments.number(self, "epsilon", epsilon, minimum=0)
        self.center = center
        self.scale = scale
        self.resolve(
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )

    def add_scale_and_offset(self, shape: Shape, scale: bool, center: bool) -> None:
        """Make gamma and beta; None for one that is not wanted."""
        for name, is_wanted in (("gamma", scale), ("beta", center)):
            made = self._add_by_name(name, shape) if is_wanted else None
            setattr(self, name, made)

    def _add_by_name(self, name: str, shape: Shape) -> Variable:
        return self.add_weight(
            shape=shape,
            name=name,
            initializer=getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
        )

    def scale_and_offset(self, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """Return gamma and beta in `dtype`; None for one that is not there."""
        gamma = None if self.gamma is None else in_dtype(self.gamma.tensor, dtype)
        return gamma, None if self.beta is None else in_dtype(self.beta.tensor, dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape


def known_sizes(layer: Layer, axes: Sequence[int], shape: Shape) -> tuple[int, ...]:
    """Return the sizes on `axes` of the shape that a layer is built for.

    Raises:
        ValueError: if one of the axes is not there, comes twice, or its size is None.
    """
    check_axes(layer, axes, shape)
    sizes = tuple(shape[axis] for axis in axes)
    if None in sizes:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}): the size on axis {list(axes)} of the "
            f"input must be known; got shape {tuple(shape)}."
        )
    return sizes  # type: ignore[return-value]


def sizes_wanted(axes: Sequence[int], sizes: Sequence[int]) -> InputSpec:
    """Return the demand that `axes` have these sizes; the rank and other axes are free."""
    fewest_axes = max(axis + 1 if axis >= 0 else -axis for axis in axes)
    return InputSpec(min_ndim=fewest_axes, axes=dict(zip(axes, sizes, strict=True)))


def over_last_axes(
    function: Callable[[Tensor], Tensor], inputs: Tensor, axes: Sequence[int]
) -> Tensor:
    """Apply a function of the last axes to `axes`, in their order."""
    last = tuple(range(-len(axes), 0))
    if all(axis % inputs.ndim == inputs.ndim + end for axis, end in zip(axes, last, strict=True)):
        return function(inputs)
    return function(inputs.movedim(tuple(axes), last)).movedim(last, tuple(axes))


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `tensor.to(dtype)`; for small tensors to ask first is several times faster."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def precise_dtype(layer: Layer, inputs: Tensor) -> torch.dtype:
    """Return the dtype for the statistics of `inputs`: float32 at least.

    An input in the weights' own dtype stays as it is: torch's kernels accumulate in float32.
    """
    if inputs.dtype is dtypes.torch_dtype(layer.variable_dtype):
        return inputs.dtype
    return torch.promote_types(inputs.dtype, torch.float32)
