"""Layers that disturb training so that the model generalizes, and one that adds a penalty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq import regularizers
from torchseq.base import arguments
from torchseq.base.types import Config, Shape
from torchseq.layers import geometry, randomness
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer


class _Noise(Layer):
    """Base of the layers that do something random in training and nothing otherwise."""

    def __init__(self, **layer_options: Any):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.built = True

    def draw_from(self, seed: int | None, strength: float) -> None:
        """Say where the random numbers come from; of no strength, the layer never draws any."""
        self.seed = seed
        self.does_draw = strength > 0
        self.stream = randomness.stream_of(self, seed) if self.does_draw else None

    def call(self, inputs: Tensor) -> Tensor:
        """Disturb the input in training, else return it."""
        return self.disturb(inputs) if self.training and self.does_draw else inputs

    def disturb(self, inputs: Tensor) -> Tensor:
        """Return what training sees of the input."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape


class Dropout(_Noise):
    """Sets a random fraction of the entries to 0 in training and scales up the others.

    Args:
        rate: fraction to drop, in [0, 1].
        noise_shape: shape of the mask, which is broadcast; None entries take the input's size.
        seed: integer that fixes the sequence of masks; torch's random stream by default.

    Shapes:
        any -> the same

    Raises:
        ValueError: if `rate` is outside [0, 1], or `noise_shape` has a size that is not positive.

    Source: keras.layers.Dropout. Which entries drop differs from Keras's choice.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.rate = arguments.fraction(self, "rate", rate)
        self.draw_from(seed, self.rate)
        self.noise_shape = _checked_noise_shape(self, noise_shape)
        if self.noise_shape is not None:
            self.input_spec = InputSpec(min_ndim=len(self.noise_shape))

    def disturb(self, inputs: Tensor) -> Tensor:
        """Drop entries."""
        if self.stream is None and self.noise_shape is None:
            return F.dropout(inputs, self.rate)
        return _drop(self, inputs, _noise_shape(self.noise_shape, inputs))


def _drop(layer: Any, inputs: Tensor, shape: Sequence[int]) -> Tensor:
    """Multiply by a mask of 0 and 1 / (1 - rate)."""
    keep = 1.0 - layer.rate
    mask = randomness.bernoulli(layer.stream, keep, shape, inputs)
    return inputs * (mask / keep if keep else mask)


def _noise_shape(given: Sequence[int | None] | None, inputs: Tensor) -> Sequence[int]:
    if given is None:
        return inputs.shape
    return [inputs.shape[i] if entry is None else entry for i, entry in enumerate(given)]


def _checked_noise_shape(
    owner: Layer, shape: Sequence[int | None] | None
) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    entries = tuple(shape) if isinstance(shape, Sequence) else ()
    if not entries or not all(e is None or (arguments.is_integer(e) and e > 0) for e in entries):
        raise ValueError(
            f"{type(owner).__name__}: `noise_shape` must be a tuple of positive integers and None; "
            f"got noise_shape={shape!r}."
        )
    return entries


class _SpatialDropout(_Noise):
    """What the spatial dropouts share; a subclass says how many spatial axes it has."""

    rank: int
    data_format = "channels_last"

    def __init__(self, rate: float, seed: int | None, name: str | None, dtype: Any):
        super().__init__(name=name, dtype=dtype)
        self.rate = arguments.fraction(self, "rate", rate)
        self.draw_from(seed, self.rate)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def disturb(self, inputs: Tensor) -> Tensor:
        """Drop channels."""
        shape = list(inputs.shape)
        start = 1 if self.data_format == "channels_last" else 2
        shape[start : start + self.rank] = [1] * self.rank
        return _drop(self, inputs, shape)

    def get_config(self) -> Config:
        """Return the constructor's arguments; Keras writes the dtype's name and no more here."""
        config = {**super().get_config(), "dtype": self.dtype}
        del config["trainable"]
        return config


class SpatialDropout1D(_SpatialDropout):
    """Drops whole channels of sequences in training and scales up the others.

    Args:
        rate: fraction of the channels to drop, in [0, 1].
        seed: integer that fixes the sequence of masks; torch's random stream by default.
        name: unique by default.
        dtype: name of a dtype or dtype policy; the global policy by default.

    Shapes:
        `(batch, time, channels)` -> the same

    Raises:
        ValueError: if `rate` is outside [0, 1].

    Source: keras.layers.SpatialDropout1D.
    """

    rank = 1

    def __init__(
        self, rate: float, seed: int | None = None, name: str | None = None, dtype: Any = None
    ):
        super().__init__(rate, seed, name, dtype)


class _ImageDropout(_SpatialDropout):
    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(rate, seed, name, dtype)
        self.data_format = geometry.data_format_of(self, data_format)


class SpatialDropout2D(_ImageDropout):
    """Drops whole channels of images in training and scales up the others.

    Args:
        rate: fraction of the channels to drop, in [0, 1].
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        seed: integer that fixes the sequence of masks; torch's random stream by default.
        name: unique by default.
        dtype: name of a dtype or dtype policy; the global policy by default.

    Shapes:
        `(batch, height, width, channels)`, or channels second -> the same

    Raises:
        ValueError: if `rate` is outside [0, 1].

    Source: keras.layers.SpatialDropout2D.
    """

    rank = 2


class SpatialDropout3D(_ImageDropout):
    """Drops whole channels of volumes in training and scales up the others.

    Args:
        rate: fraction of the channels to drop, in [0, 1].
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        seed: integer that fixes the sequence of masks; torch's random stream by default.
        name: unique by default.
        dtype: name of a dtype or dtype policy; the global policy by default.

    Shapes:
        `(batch, depth, height, width, channels)`, or channels second -> the same

    Raises:
        ValueError: if `rate` is outside [0, 1].

    Source: keras.layers.SpatialDropout3D.
    """

    rank = 3


class GaussianDropout(_Noise):
    """Multiplies by normal noise of mean 1 and deviation `sqrt(rate / (1 - rate))` in training.

    Args:
        rate: as of the Dropout with noise of this deviation, in [0, 1).
        seed: integer that fixes the sequence of noise; torch's random stream by default.

    Shapes:
        any -> the same

    Raises:
        ValueError: if `rate` is outside [0, 1).

    Source: keras.layers.GaussianDropout. Keras divides by zero in training where `rate` is 1.
    """

    def __init__(self, rate: float, seed: int | None = None, **layer_options: Any):
        super().__init__(**layer_options)
        self.rate = arguments.fraction(self, "rate", rate)
        if rate == 1:
            raise ValueError(f"GaussianDropout: `rate` must be below 1; got rate={rate!r}.")
        self.draw_from(seed, self.rate)

    def disturb(self, inputs: Tensor) -> Tensor:
        """Multiply by noise."""
        deviation = math.sqrt(self.rate / (1.0 - self.rate))
        inputs = inputs.to(self._compute_dtype)
        return inputs * (1.0 + deviation * randomness.normal(self.stream, inputs.shape, inputs))


class GaussianNoise(_Noise):
    """Adds normal noise of mean 0 in training.

    Args:
        stddev: deviation of the noise, in [0, 1].
        seed: integer that fixes the sequence of noise; torch's random stream by default.

    Shapes:
        any -> the same

    Raises:
        ValueError: if `stddev` is outside [0, 1].

    Source: keras.layers.GaussianNoise.
    """

    def __init__(self, stddev: float, seed: int | None = None, **layer_options: Any):
        super().__init__(**layer_options)
        self.stddev = arguments.fraction(self, "stddev", stddev)
        self.draw_from(seed, self.stddev)

    def disturb(self, inputs: Tensor) -> Tensor:
        """Add noise."""
        inputs = inputs.to(self._compute_dtype)
        return inputs + self.stddev * randomness.normal(self.stream, inputs.shape, inputs)


class AlphaDropout(_Noise):
    """Sets a random fraction of the entries to SELU's lowest value in training.

    Then it scales and shifts all, so that inputs of mean 0 and variance 1 keep both.

    Args:
        rate: fraction to drop, in [0, 1].
        noise_shape: shape of the mask, which is broadcast; None entries take the input's size.
        seed: integer that fixes the sequence of masks; torch's random stream by default.

    Shapes:
        any -> the same

    Raises:
        ValueError: if `rate` is outside [0, 1], or `noise_shape` has a size that is not positive.

    Source: keras.layers.AlphaDropout. A `rate` of 1 gives zeros, as in torch; Keras divides by
        zero.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.rate = arguments.fraction(self, "rate", rate)
        self.draw_from(seed, self.rate)
        self.noise_shape = _checked_noise_shape(self, noise_shape)
        if self.noise_shape is not None:
            self.input_spec = InputSpec(min_ndim=len(self.noise_shape))

    def disturb(self, inputs: Tensor) -> Tensor:
        """Drop entries."""
        if self.rate == 1:
            return torch.zeros_like(inputs)
        if self.stream is None and self.noise_shape is None:
            return F.alpha_dropout(inputs, self.rate, training=True)
        lowest = -1.6732632423543772 * 1.0507009873554805  # the limit of SELU
        shape = _noise_shape(self.noise_shape, inputs)
        kept = randomness.bernoulli(self.stream, 1.0 - self.rate, shape, inputs)
        factor = 1.0 / math.sqrt((1.0 - self.rate) * (1.0 + self.rate * lowest**2))
        dropped = inputs * kept + lowest * (1.0 - kept)
        return (dropped - lowest * self.rate) * factor


class ActivityRegularization(Layer):
    """Returns its input and adds a penalty on it to the loss, divided by the batch size.

    Args:
        l1: weight of the sum of absolute values.
        l2: weight of the sum of squares.

    Shapes:
        any -> the same

    Source: keras.layers.ActivityRegularization.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **layer_options: Any):
        l1 = arguments.number(self, "l1", l1, minimum=0)
        l2 = arguments.number(self, "l2", l2, minimum=0)
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **layer_options)
        self.supports_masking = True
        self.l1 = l1
        self.l2 = l2
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Return the input."""
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["activity_regularizer"]
        return config
