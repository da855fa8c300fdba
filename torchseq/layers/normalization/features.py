"""Normalizations of each sample by itself: over features, over groups of them, to unit norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Config, Identifier, Shape
from torchseq.layers.input_spec import InputSpec, check_axes
from torchseq.layers.layer import Layer
from torchseq.layers.normalization.scaled import (
    Scaled,
    known_sizes,
    over_last_axes,
    precise_dtype,
    sizes_wanted,
)


class LayerNormalization(Scaled):
    """Gives each sample mean 0 and variance 1 over `axis`, then `* gamma + beta`.

    Args:
        axis: one axis or several, anywhere; gamma and beta have a value for each position on them.
        epsilon: added to the variance.
        center: learn `beta` and add it.
        scale: learn `gamma` and multiply by it.
        beta_initializer, gamma_initializer: name, config or callable.
        beta_regularizer, gamma_regularizer: penalty on the weight.
        beta_constraint, gamma_constraint: projection of the weight after each update.
        **layer_options: also `rms_scaling`, an old form that divides by the deviation and leaves
            the mean.

    Shapes:
        any -> the same

    Raises:
        TypeError: if `axis` is neither an integer nor a list of integers.
        ValueError: if the input has no such axis, or one of unknown size.

    Source: keras.layers.LayerNormalization. Keras refuses axes that are not the last ones.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        beta_regularizer: Identifier = None,
        gamma_regularizer: Identifier = None,
        beta_constraint: Identifier = None,
        gamma_constraint: Identifier = None,
        **layer_options: Any,
    ):
        rms_scaling = bool(layer_options.pop("rms_scaling", False))
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **{**layer_options, "autocast": False},  # statistics are taken before rounding
        )
        self.axis = arguments.axis_or_axes(self, axis)
        self.rms_scaling = rms_scaling

    def build(self, input_shape: Shape) -> None:
        """Make gamma and beta."""
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        shape = known_sizes(self, self.axis, input_shape)
        scale, center = self.scale or self.rms_scaling, self.center and not self.rms_scaling
        self.add_scale_and_offset(shape, scale, center)
        self.input_spec = sizes_wanted(self.axis, shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Normalize."""
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        inputs = inputs.to(precise_dtype(self, inputs))
        outputs = over_last_axes(self._normalize_last, inputs, axes)
        return outputs.to(self._compute_dtype)

    def _normalize_last(self, inputs: Tensor) -> Tensor:
        rank = 1 if isinstance(self.axis, int) else len(self.axis)
        gamma, beta = self.scale_and_offset(inputs.dtype)
        if not self.rms_scaling:
            return F.layer_norm(inputs, inputs.shape[-rank:], gamma, beta, self.epsilon)
        variance = inputs.var(tuple(range(-rank, 0)), correction=0, keepdim=True)
        factor = (variance + self.epsilon).rsqrt()
        return inputs * (factor if gamma is None else factor * gamma)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "rms_scaling": self.rms_scaling}


class GroupNormalization(Scaled):
    """Gives each group of channels of a sample mean 0 and variance 1, then `* gamma + beta`.

    Args:
        groups: number of groups; -1 makes each channel one.
        axis: the channels.
        epsilon: added to the variance.
        center: learn `beta` and add it.
        scale: learn `gamma` and multiply by it.
        beta_initializer, gamma_initializer: name, config or callable.
        beta_regularizer, gamma_regularizer: penalty on the weight.
        beta_constraint, gamma_constraint: projection of the weight after each update.

    Shapes:
        any -> the same

    Raises:
        ValueError: if `groups` is not a positive integer or -1, or does not divide the channels.

    Source: keras.layers.GroupNormalization.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        beta_regularizer: Identifier = None,
        gamma_regularizer: Identifier = None,
        beta_constraint: Identifier = None,
        gamma_constraint: Identifier = None,
        **layer_options: Any,
    ):
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **{**layer_options, "autocast": False},  # statistics are taken before rounding
        )
        if not arguments.is_integer(groups) or (groups <= 0 and groups != -1):
            raise ValueError(
                "GroupNormalization: `groups` must be a positive integer, or -1 for groups of one "
                f"channel; got groups={groups!r}."
            )
        if not arguments.is_integer(axis):
            raise TypeError(f"GroupNormalization: `axis` must be an integer; got axis={axis!r}.")
        self.groups = int(groups)
        self.axis = int(axis)

    def build(self, input_shape: Shape) -> None:
        """Make gamma and beta."""
        (channels,) = known_sizes(self, [self.axis], input_shape)
        if self.axis % len(input_shape) == 0:
            raise ValueError(
                f"Layer {self.name!r} (GroupNormalization): `axis` must not be the batch axis; got "
                f"axis={self.axis} for an input of shape {tuple(input_shape)}."
            )
        if self.groups == -1:
            self.groups = channels
        if channels % self.groups:
            raise ValueError(
                f"Layer {self.name!r} (GroupNormalization): `groups` must divide the number of "
                f"channels; got groups={self.groups}, {channels} channels."
            )
        self.add_scale_and_offset((channels,), self.scale, self.center)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, inputs: Tensor) -> Tensor:
        """Normalize."""
        x = inputs.to(precise_dtype(self, inputs)).movedim(self.axis, 1)  # a view
        gamma, beta = self.scale_and_offset(x.dtype)
        # torch 2.13 on the CPU fails with a beta alone, and crashes in the backward pass of a
        # channels-last input that needs no gradient itself.
        if gamma is not None and (x.requires_grad or not torch.is_grad_enabled()):
            outputs = torch.group_norm(x, self.groups, gamma, beta, self.epsilon)
        else:
            outputs = torch.group_norm(x, self.groups, eps=self.epsilon)
            outputs = outputs if gamma is None else outputs * _second(gamma, x)
            outputs = outputs if beta is None else outputs + _second(beta, x)
        return outputs.movedim(1, self.axis).to(self._compute_dtype)


def _second(values: Tensor, x: Tensor) -> Tensor:
    """Return a value per channel so that it broadcasts against `x`, with its channels second."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


class RMSNormalization(Layer):
    """Divides by the root of the mean square over `axis`, then multiplies by `scale`.

    Args:
        axis: one axis or several, anywhere; `scale` has a value for each position on them.
        epsilon: added to the mean square.

    Shapes:
        any -> the same

    Raises:
        TypeError: if `axis` is neither an integer nor a list of integers.
        ValueError: if the input has no such axis, or one of unknown size.

    Source: keras.layers.RMSNormalization. Keras refuses axes that are not the last ones, and
        rounds the results of integer inputs.
    """

    casts_integers = True

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **layer_options: Any):
        super().__init__(**layer_options)
        self.axis = arguments.axis_or_axes(self, axis)
        self.epsilon = arguments.number(self, "epsilon", epsilon, minimum=0)

    def build(self, input_shape: Shape) -> None:
        """Make the scale."""
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        shape = known_sizes(self, self.axis, input_shape)
        self.scale = self.add_weight(shape=shape, name="scale", initializer="ones")
        self.input_spec = sizes_wanted(self.axis, shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Normalize."""
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        x = inputs.to(precise_dtype(self, inputs))
        return over_last_axes(self._normalize_last, x, axes).to(inputs.dtype)

    def _normalize_last(self, inputs: Tensor) -> Tensor:
        scale = self.scale.tensor.to(inputs.dtype)
        return F.rms_norm(inputs, scale.shape, scale, self.epsilon)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape


class UnitNormalization(Layer):
    """Divides by the Euclidean norm over `axis`.

    Args:
        axis: one axis or several that are normalized together.

    Shapes:
        any -> the same

    Raises:
        TypeError: if `axis` is neither an integer nor a list of integers.
        ValueError: if the input has no such axis.

    Source: keras.layers.UnitNormalization.
    """

    casts_integers = True

    def __init__(self, axis: int | Sequence[int] = -1, **layer_options: Any):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.axis = arguments.axis_or_axes(self, axis)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Normalize."""
        axes = self.axis if isinstance(self.axis, int) else tuple(self.axis)
        return F.normalize(inputs, dim=axes, eps=1e-12)  # type: ignore[arg-type]

    def _check_shape(self, shape: Shape) -> None:
        super()._check_shape(shape)
        self.compute_output_shape(shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape.

        Raises:
            ValueError: if it has no such axis.
        """
        check_axes(self, [self.axis] if isinstance(self.axis, int) else self.axis, input_shape)
        return input_shape
