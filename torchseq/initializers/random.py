"""Random initializers: Keras's values on its torch backend, bit for bit, from the same seed.

Values are drawn on the CPU and then moved, so that they do not depend on the device. An object
draws its seed when it is made and returns the same values at each call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, registry, seeds, settings
from torchseq.base.types import Config, Shape
from torchseq.initializers.initializer import Initializer, known_shape

_CPU = torch.device("cpu")
# Standard deviation of a standard normal cut off at ±2.
_TRUNCATED_STDDEV = 0.87962566103423978


class RandomInitializer(Initializer):
    """Base of the initializers with a seed.

    Args:
        seed: an integer; a seed generator, which gives other values at each call; its config; or
            None to draw one from Python's `random`.

    Raises:
        ValueError: if `seed` is none of these.
    """

    def __init__(self, seed: Any = None):
        self._init_seed = seed
        if seed is None:
            seed = seeds.make_seed()
        elif isinstance(seed, Mapping):
            seed = registry.deserialize(seed)
        elif not arguments.is_integer(seed) and not hasattr(seed, "next"):
            raise ValueError(
                f"{type(self).__name__}: `seed` must be an integer, a SeedGenerator or None; "
                f"got seed={seed!r}."
            )
        self.seed = seed

    def get_config(self) -> Config:
        return {"seed": registry.serialize(self._init_seed)}

    def _generator(self) -> torch.Generator:
        seed = sum(self.seed.next()) if hasattr(self.seed, "next") else self.seed
        return seeds.generator(int(seed) & 0xFFFFFFFF)  # Keras keeps 32 bits of it

    def _normal(
        self, shape: Shape, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None
    ) -> Tensor:
        """Draw from a normal distribution; the result is still on the CPU."""
        return torch.normal(
            mean,
            stddev,
            known_shape(self, shape),
            generator=self._generator(),
            dtype=dtypes.torch_dtype(dtype),
            device=_CPU,
        )

    def _uniform(self, shape: Shape, low: float, high: float, dtype: Any = None) -> Tensor:
        """Draw from [low, high)."""
        drawn = torch.rand(
            known_shape(self, shape),
            generator=self._generator(),
            dtype=dtypes.torch_dtype(dtype),
            device=_CPU,
        )
        return ((high - low) * drawn + low).to(settings.device())

    def _truncated_normal(
        self, shape: Shape, mean: float, stddev: float, dtype: Any = None
    ) -> Tensor:
        """Draw from a normal distribution cut off at two standard deviations."""
        # Of four draws a value, take the first that lies inside (none does once in 230,000).
        drawn = self._normal((*shape, 4), dtype=dtype)
        first_inside = ((drawn > -2) & (drawn < 2)).max(-1, keepdim=True).indices
        chosen = drawn.gather(-1, first_inside).squeeze(-1)
        return (chosen * stddev + mean).to(settings.device())


class RandomNormal(RandomInitializer):
    """Draws from a normal distribution.

    Args:
        mean, stddev: of the distribution.
        seed: see `RandomInitializer`.

    Source: keras.initializers.RandomNormal.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return self._normal(shape, self.mean, self.stddev, dtype).to(settings.device())

    def get_config(self) -> Config:
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomInitializer):
    """Draws from a normal distribution cut off at two standard deviations.

    Args:
        mean, stddev: of the distribution before the cut.
        seed: see `RandomInitializer`.

    Source: keras.initializers.TruncatedNormal.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return self._truncated_normal(shape, self.mean, self.stddev, dtype)

    def get_config(self) -> Config:
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class RandomUniform(RandomInitializer):
    """Draws from [minval, maxval), all values alike.

    Args:
        minval, maxval: the range.
        seed: see `RandomInitializer`.

    Source: keras.initializers.RandomUniform.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None):
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return self._uniform(shape, self.minval, self.maxval, dtype)

    def get_config(self) -> Config:
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


class VarianceScaling(RandomInitializer):
    """Draws with a variance of `scale / n`, where n counts a unit's inputs, outputs or their mean.

    Args:
        scale: positive.
        mode: what n is: `"fan_in"`, `"fan_out"` or `"fan_avg"`.
        distribution: `"truncated_normal"` (or `"normal"`), `"untruncated_normal"`, `"uniform"`.
        seed: see `RandomInitializer`.
        input_axes, output_axes: axes whose sizes multiply to the number of inputs and of outputs;
            by default as for the kernels of dense and convolutional layers.

    Raises:
        ValueError: if an argument is none of these.

    Source: keras.initializers.VarianceScaling.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        if scale <= 0.0:
            raise ValueError(
                f"{type(self).__name__}: `scale` must be a positive number; got scale={scale!r}."
            )
        distribution = distribution.lower()
        self.scale = scale
        self.mode = arguments.one_of(self, "mode", mode, ["fan_in", "fan_out", "fan_avg"])
        self.distribution = arguments.one_of(
            self,
            "distribution",
            "truncated_normal" if distribution == "normal" else distribution,
            ["uniform", "truncated_normal", "untruncated_normal"],
        )
        self.input_axes = input_axes
        self.output_axes = output_axes
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        sizes = known_shape(self, shape)
        fan_in, fan_out = _fans(sizes, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return self._uniform(sizes, -limit, limit, dtype)
        if self.distribution == "untruncated_normal":
            return self._normal(sizes, 0.0, math.sqrt(variance), dtype).to(settings.device())
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return self._truncated_normal(sizes, 0.0, stddev, dtype)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


def _fans(
    shape: tuple[int, ...],
    input_axes: Sequence[int] | None,
    output_axes: Sequence[int] | None,
) -> tuple[int, int]:
    """Return how many inputs and outputs a unit with a kernel of this shape has."""
    if input_axes is not None and output_axes is not None:
        return (
            math.prod(shape[axis] for axis in input_axes),
            math.prod(shape[axis] for axis in output_axes),
        )
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])  # of a convolution; 1 for a matrix
    return window * shape[-2], window * shape[-1]


class _NamedScaling(VarianceScaling):
    """Base of the variance scalings with a name: scale, mode and distribution are the class's."""

    _scaling: tuple[float, str, str]

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(*self._scaling, seed, input_axes, output_axes)

    def get_config(self) -> Config:
        return {
            "seed": registry.serialize(self._init_seed),
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class GlorotUniform(_NamedScaling):
    """Xavier's: draws from ±sqrt(6 / (inputs + outputs)).

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    Source: keras.initializers.GlorotUniform.
    """

    _scaling = (1.0, "fan_avg", "uniform")


class GlorotNormal(_NamedScaling):
    """Xavier's, from a truncated normal of variance 2 / (inputs + outputs).

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    Source: keras.initializers.GlorotNormal.
    """

    _scaling = (1.0, "fan_avg", "truncated_normal")


class LecunNormal(_NamedScaling):
    """Draws from a truncated normal of variance 1 / inputs; goes with `selu`.

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    Source: keras.initializers.LecunNormal.
    """

    _scaling = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_NamedScaling):
    """Draws from ±sqrt(3 / inputs).

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    Source: keras.initializers.LecunUniform.
    """

    _scaling = (1.0, "fan_in", "uniform")


class HeNormal(_NamedScaling):
    """Draws from a truncated normal of variance 2 / inputs; goes with `relu`.

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    Source: keras.initializers.HeNormal.
    """

    _scaling = (2.0, "fan_in", "truncated_normal")


class HeUniform(_NamedScaling):
    """Draws from ±sqrt(6 / inputs); goes with `relu`.

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    Source: keras.initializers.HeUniform.
    """

    _scaling = (2.0, "fan_in", "uniform")


class Orthogonal(RandomInitializer):
    """Makes a matrix with orthonormal rows or columns, whichever are fewer, times `gain`.

    All axes but the last count as rows.

    Args:
        gain: factor of the result.
        seed: see `RandomInitializer`.

    Source: keras.initializers.Orthogonal.
    """

    def __init__(self, gain: float = 1.0, seed: Any = None):
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Return the matrix in the given shape.

        Raises:
            ValueError: if the shape has fewer than two axes.
        """
        sizes = known_shape(self, shape)
        if len(sizes) < 2:
            raise ValueError(
                f"Orthogonal: the shape must have at least 2 axes; got shape={sizes}. "
                "Use another initializer for vectors."
            )
        wanted = dtypes.torch_dtype(dtype)
        # torch has no QR in 16 bits.
        computed = wanted if wanted in (torch.float32, torch.float64) else torch.float32
        rows, columns = math.prod(sizes[:-1]), sizes[-1]
        drawn = self._normal((max(rows, columns), min(rows, columns)), dtype=computed)
        q: Tensor
        q, r = torch.linalg.qr(drawn)
        q = q * r.diagonal().sign()  # without it the distribution would not be uniform
        if rows < columns:
            q = q.T
        return (self.gain * q.reshape(sizes)).to(settings.device(), wanted)

    def get_config(self) -> Config:
        return {**super().get_config(), "gain": self.gain}
