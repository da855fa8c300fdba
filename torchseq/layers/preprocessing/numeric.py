"""Preparation of numbers: to mean 0 and variance 1, or to another range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq import initializers
from torchseq.base import arguments, dtypes, registry, settings
from torchseq.base.types import Config, Shape
from torchseq.base.variable import Variable, as_tensor
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer


class Normalization(Layer):
    """Shifts and scales features to mean 0 and variance 1: `(inputs - mean) / sqrt(variance)`.

    Mean and variance are given, or learned from data by `adapt`.

    Args:
        axis: one axis or several, each position on which has its own mean and variance; None for
            one mean of all.
        mean, variance: given values, which broadcast to those axes; both or neither.
        invert: turn normalized values back: `inputs * sqrt(variance) + mean`.

    Shapes:
        any -> the same

    Raises:
        ValueError: if only one of `mean` and `variance` is given, their shapes differ or have more
            axes than `axis`; if the input lacks one of the axes or its size is not known.

    Source: keras.layers.Normalization. The variance is the population's. Not offered: tf.data.
    """

    casts_integers = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.axis = _axes(axis)
        self.invert = invert
        # A config from before `adapt` holds None.
        self.input_mean = _given(self, "mean", mean)
        self.input_variance = _given(self, "variance", variance)
        _check_given(self.axis, self.input_mean, self.input_variance)

    def build(self, input_shape: Shape) -> None:
        """Make mean, variance and count, unless the first two are given."""
        rank = len(input_shape)
        if not all(-rank <= axis < rank for axis in self.axis):
            raise ValueError(
                f"Layer {self.name!r} (Normalization): `axis` must name axes of the input; got "
                f"axis={self.axis} for an input of shape {tuple(input_shape)}."
            )
        self._kept = tuple(sorted(axis % rank for axis in self.axis))
        self._reduced = tuple(axis for axis in range(rank) if axis not in self._kept)
        sizes = tuple(input_shape[axis] for axis in self._kept)
        if None in sizes:
            raise ValueError(
                f"Layer {self.name!r} (Normalization): the sizes on axis={self.axis} must be "
                f"known; got an input of shape {tuple(input_shape)}."
            )
        self._broadcast_shape: tuple[int, ...] = tuple(
            size if axis in self._kept else 1  # type: ignore[misc]
            for axis, size in enumerate(input_shape)
        )
        # As seen from the end: an input with more axes is normalized as well.
        axes = {axis - rank: size for axis, size in zip(self._kept, sizes, strict=True)}
        self.input_spec = InputSpec(axes={a: size for a, size in axes.items() if size != 1})
        if self.input_mean is None:
            self.adapt_mean = self._add_statistic("mean", sizes, "zeros")
            self.adapt_variance = self._add_statistic("variance", sizes, "ones")
            # Always 0: older Keras counted here, and files have it.
            self.count = self._add_statistic("count", (), "zeros", "int32")
            return
        for name, given in (("mean", self.input_mean), ("variance", self.input_variance)):
            dtype = dtypes.torch_dtype(self.variable_dtype)
            tensor = as_tensor(self._spread(np.asarray(given)), dtype)
            self.register_buffer(f"given_{name}", tensor, persistent=False)

    def _add_statistic(
        self, name: str, shape: Shape, initializer: str, dtype: str | None = None
    ) -> Variable:
        """Make a weight that Keras calls `name`, which is another thing on this layer."""
        empty = torch.empty(
            shape,  # type: ignore[arg-type]
            dtype=dtypes.torch_dtype(dtype or self.variable_dtype),
            device=settings.device(),
        )
        self.register_buffer(f"adapt_{name}", empty)
        variable = Variable.over(self, f"adapt_{name}", name)
        return self._declare(variable, initializers.get(initializer))

    def _spread(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return given values in the shape that broadcasts against inputs."""
        if values.ndim:  # they belong to the last of the kept axes
            shape = [1] * len(self._broadcast_shape)
            kept = self._kept[-values.ndim :]
            expected = tuple(self._broadcast_shape[axis] for axis in kept)
            if any(
                size not in (1, other) for size, other in zip(values.shape, expected, strict=True)
            ):
                raise ValueError(
                    f"Layer {self.name!r} (Normalization): `mean` and `variance` must have a value "
                    f"for each position on axis={self.axis}, of sizes {expected}; got shape "
                    f"{values.shape}."
                )
            for axis, size in zip(kept, values.shape, strict=True):
                shape[axis] = size
            values = values.reshape(shape)
        return np.broadcast_to(values, self._broadcast_shape).copy()

    @property
    def mean(self) -> Tensor | None:
        """The mean, in the shape that broadcasts against inputs; None before the layer is built."""
        return self._statistic("mean")

    @property
    def variance(self) -> Tensor | None:
        """The variance, in the same form."""
        return self._statistic("variance")

    def _statistic(self, name: str) -> Tensor | None:
        if not self.built:
            return None
        if self.input_mean is not None:
            given: Tensor = self._buffers[f"given_{name}"].to(self._compute_dtype)  # type: ignore[union-attr]
            return given
        adapted: Variable = getattr(self, f"adapt_{name}")
        return adapted.tensor.reshape(self._broadcast_shape).to(self._compute_dtype)

    def adapt(self, data: Any) -> None:
        """Learn mean and variance from data; what was learned before is forgotten.

        Args:
            data: an array, tensor or list of samples; or an iterable of batches, of which tuples,
                and lists of tensors, count by their first entry.

        Raises:
            ValueError: if mean and variance are given, there is no data, or its shape differs from
                that the layer was built for.
        """
        if self.input_mean is not None:
            raise ValueError(
                f"Layer {self.name!r} (Normalization): adapt needs a layer without given values; "
                f"got mean={self.input_mean.tolist()}."
            )
        total = 0
        for batch in _batches(data):
            if not self.built:
                self.build(tuple(batch.shape))
            self._check_batch(tuple(batch.shape))
            batch_mean, batch_variance, count = self._moments(batch)
            if total == 0:
                mean, variance = batch_mean, batch_variance
            else:  # of the two parts together
                weight = count / (total + count)
                shift = batch_mean - mean
                mean = mean + weight * shift
                variance = torch.lerp(variance, batch_variance, weight)
                variance = variance + weight * (1 - weight) * shift.square()
            total += count
        if total == 0:
            raise ValueError(f"Layer {self.name!r} (Normalization): adapt needs data; got none.")
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(variance)

    def _check_batch(self, shape: Shape) -> None:
        expected = self._build_shape
        if len(shape) != len(expected) or any(shape[a] != expected[a] for a in self._kept):
            raise ValueError(
                f"Layer {self.name!r} (Normalization): data to adapt to must have the shape that "
                f"the layer was built for, {tuple(expected)}; got shape {shape}."
            )

    def _moments(self, batch: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return mean, population variance and count, in double precision."""
        batch = batch.double()
        count = math.prod(batch.shape[axis] for axis in self._reduced)
        if not self._reduced:
            return batch, torch.zeros_like(batch), 1
        variance, mean = torch.var_mean(batch, self._reduced, correction=0)
        return mean, variance, count

    def finalize_state(self) -> None:
        """Do nothing: mean and variance are read where they are kept. Keras's name."""

    def call(self, inputs: Tensor) -> Tensor:
        """Normalize, or turn back."""
        mean, variance = self._statistic("mean"), self._statistic("variance")
        deviation = variance.sqrt().clamp(min=settings.epsilon())  # type: ignore[union-attr]
        return mean + inputs * deviation if self.invert else (inputs - mean) / deviation  # type: ignore[operator]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        given = {"mean": self.input_mean, "variance": self.input_variance}
        lists = {key: None if value is None else value.tolist() for key, value in given.items()}
        return {**super().get_config(), **lists}


def _axes(axis: Any) -> tuple[int, ...]:
    entries = () if axis is None else (axis,) if arguments.is_integer(axis) else axis
    if not isinstance(entries, list | tuple) or not all(map(arguments.is_integer, entries)):
        raise ValueError(
            "Normalization: `axis` must be an integer, a tuple of integers or None; got "
            f"axis={axis!r}."
        )
    return tuple(int(entry) for entry in entries)


def _given(owner: Normalization, name: str, values: Any) -> np.ndarray[Any, Any] | None:
    return None if values is None else np.asarray(arguments.numbers(owner, name, values))


def _check_given(axes: tuple[int, ...], mean: Any, variance: Any) -> None:
    if (mean is None) != (variance is None):
        raise ValueError(
            "Normalization: `mean` and `variance` must be given together; got "
            f"mean={mean!r}, variance={variance!r}."
        )
    if mean is not None and (mean.shape != variance.shape or mean.ndim > len(axes)):
        raise ValueError(
            "Normalization: `mean` and `variance` must have one shape, of no more axes than "
            f"`axis` names; got shapes {mean.shape} and {variance.shape} with axis={axes}."
        )
    if variance is not None and (variance < 0).any():
        raise ValueError(
            f"Normalization: `variance` must not be negative; got variance={variance.tolist()}."
        )


def _batches(data: Any) -> Iterator[Tensor]:
    """Yield the batches of data as tensors; an array is one batch."""
    if isinstance(data, list) and data and not _is_batch(data[0]):
        data = np.asarray(data)
    if isinstance(data, Tensor | np.ndarray):
        yield torch.as_tensor(data)
        return
    if not isinstance(data, Iterable):
        raise TypeError(
            "Normalization: data to adapt to must be an array, a tensor or an iterable of batches; "
            f"got {type(data).__name__}."
        )
    for batch in data:
        is_several = isinstance(batch, list | tuple) and _is_batch(batch)
        yield torch.as_tensor(batch[0] if is_several else batch)


def _is_batch(entry: Any) -> bool:
    """Tell a batch, of which there may be several, from a sample written as a list of numbers."""
    if isinstance(entry, list):
        return bool(entry) and isinstance(entry[0], Tensor | np.ndarray)
    return isinstance(entry, Tensor | np.ndarray | tuple)


class Rescaling(Layer):
    """Scales and shifts: `inputs * scale + offset`.

    Args:
        scale: number, or one per channel.
        offset: number, or one per channel.

    Shapes:
        any -> the same, as floats

    Source: keras.layers.Rescaling.
    """

    casts_integers = True

    def __init__(self, scale: Any, offset: Any = 0.0, **layer_options: Any):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.scale = arguments.numbers(self, "scale", scale)
        self.offset = arguments.numbers(self, "offset", offset)
        for name in ("scale", "offset"):
            if np.ndim(getattr(self, name)):  # a number needs no tensor
                values = as_tensor(getattr(self, name), self.compute_dtype)
                self.register_buffer(f"{name}_values", values, persistent=False)

    def call(self, inputs: Tensor) -> Tensor:
        """Scale and shift."""
        scale, offset = self._operand("scale"), self._operand("offset")
        if isinstance(scale, Tensor) and settings.image_data_format() == "channels_first":
            scale = scale.reshape(*scale.shape, *[1] * (3 - scale.ndim))
        return inputs * scale + offset  # type: ignore[no-any-return]

    def _operand(self, name: str) -> Any:
        values = self._buffers.get(f"{name}_values")
        return getattr(self, name) if values is None else values.to(self._compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    @classmethod
    def from_config(cls, config: Config) -> Rescaling:
        """Make the layer; arrays may be in a config."""
        given = {"scale", "offset"} & config.keys()
        numbers = {name: registry.deserialize(config[name]) for name in given}
        return cls(**{**config, **numbers})
