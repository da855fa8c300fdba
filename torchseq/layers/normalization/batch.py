"""Normalization over the batch, with moving statistics for inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, joined, process, settings
from torchseq.base.types import Identifier, Shape
from torchseq.base.variable import Variable
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.normalization import ranks
from torchseq.layers.normalization.scaled import Scaled, in_dtype, known_sizes, precise_dtype

_HALVES = (torch.float16, torch.bfloat16)


class BatchNormalization(Scaled):
    """Gives each channel mean 0 and variance 1 over the batch, then `* gamma + beta`.

    Inference uses moving averages of the batches' means and variances. A layer with
    `trainable=False` infers in training too.

    Args:
        axis: the channels; all other axes are averaged over.
        momentum: weight of the old value in the moving averages, in [0, 1].
        epsilon: added to the variance.
        center: learn `beta` and add it.
        scale: learn `gamma` and multiply by it.
        beta_initializer, gamma_initializer: name, config or callable.
        moving_mean_initializer, moving_variance_initializer: name, config or callable.
        beta_regularizer, gamma_regularizer: penalty on the weight.
        beta_constraint, gamma_constraint: projection of the weight after each update.
        renorm: correct the batch's statistics toward the moving ones in training.
        renorm_clipping: limits of that correction: `rmin`, `rmax`, `dmax`.
        renorm_momentum: weight of the old value in the averages that `renorm` uses.
        synchronized: take the statistics over the batches of all processes of torch.distributed.

    Shapes:
        any -> the same. A mask has the input's shape but for the last axis.

    Raises:
        ValueError: if the input has no such axis, or `renorm_clipping` has other keys or limits
            that exclude each other.

    Source: keras.layers.BatchNormalization. The variance is the mean squared deviation from the
        mean, where Keras's torch backend subtracts squares and loses digits. `synchronized` is for
        TensorFlow alone there.
    """

    casts_integers = True

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        moving_mean_initializer: Identifier = "zeros",
        moving_variance_initializer: Identifier = "ones",
        beta_regularizer: Identifier = None,
        gamma_regularizer: Identifier = None,
        beta_constraint: Identifier = None,
        gamma_constraint: Identifier = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
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
            **layer_options,
        )
        self.epsilon = float(self.epsilon)
        self.axis = _single_axis(axis)
        self.momentum = float(arguments.fraction(self, "momentum", momentum))
        self.resolve(
            moving_mean_initializer=moving_mean_initializer,
            moving_variance_initializer=moving_variance_initializer,
        )
        self.renorm = renorm
        self.renorm_clipping = _clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = arguments.fraction(self, "renorm_momentum", renorm_momentum)
        self.synchronized = synchronized

    def build(self, input_shape: Shape) -> None:
        """Make gamma, beta and the moving averages."""
        shape = known_sizes(self, [self.axis], input_shape)
        self.add_scale_and_offset(shape, self.scale, self.center)
        self.moving_mean = self._add_average("moving_mean", shape, self.moving_mean_initializer)
        self.moving_variance = self._add_average(
            "moving_variance", shape, self.moving_variance_initializer
        )
        if self.renorm:
            self.moving_stddev = self._add_average("moving_stddev", shape, self._initial_stddev)
            mean_initializer = _copy_of(self.moving_mean_initializer)
            self.renorm_mean = self._add_average("renorm_mean", shape, mean_initializer)
            self.renorm_stddev = self._add_average("renorm_stddev", shape, self._initial_stddev)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: shape[0]})

    def _add_average(self, name: str, shape: Shape, initializer: Any) -> Variable:
        return self.add_weight(shape=shape, name=name, initializer=initializer, trainable=False)

    def _initial_stddev(self, shape: Shape, dtype: Any = None) -> Tensor:
        values: Tensor = _copy_of(self.moving_variance_initializer)(shape, dtype=dtype)
        return values.sqrt()

    def call(self, inputs: Tensor, training: bool = False, mask: Tensor | None = None) -> Tensor:
        """Normalize by the batch in training, else by the moving averages."""
        x = self._as_computed(inputs)
        if mask is not None and mask.ndim != inputs.ndim - 1:
            raise ValueError(
                f"Layer {self.name!r} (BatchNormalization): a mask must have one axis less than "
                f"the input; got shapes {tuple(mask.shape)} and {tuple(inputs.shape)}."
            )
        if not (training and self._trainable):
            outputs = self._by_averages(x)
        elif mask is None and not self.renorm and not self._spans_ranks() and self._count(x) > 1:
            outputs = self._by_batch(x)
        else:
            outputs = self._by_moments(x.to(torch.promote_types(x.dtype, torch.float32)), mask)
        return in_dtype(outputs, inputs.dtype)

    def _as_computed(self, inputs: Tensor) -> Tensor:
        """Return the input in a dtype that torch's kernel takes together with the weights'."""
        dtype = self.moving_mean.tensor.dtype
        if inputs.dtype is dtype or (inputs.dtype in _HALVES and dtype is torch.float32):
            return inputs
        return in_dtype(inputs, precise_dtype(self, inputs))

    def _spans_ranks(self) -> bool:
        return self.synchronized and process.are_several()

    def _count(self, x: Tensor) -> int:
        """Return the number of values that a channel's mean is taken over."""
        return x.numel() // max(x.shape[self.axis], 1)

    def _by_averages(self, x: Tensor) -> Tensor:
        """Normalize by the moving averages."""
        mean, variance = self.moving_mean.tensor, self.moving_variance.tensor
        if self._trainable and torch.is_grad_enabled():
            # A call in training may move them before the gradients of this one are taken.
            mean, variance = mean.clone(), variance.clone()
        return self._run_kernel(x, mean, variance)

    def _by_batch(self, x: Tensor) -> Tensor:
        """Normalize by torch's kernel, and take from it what the moving averages need.

        The kernel's variance is the unbiased one, Keras's is not: `share` of it. So the kernel is
        told to mix that share of the batch's statistics into zeros; the mean is taken back.
        """
        shift = self._shift(x)
        share = 1 - 1 / self._count(x)
        # Not the averages themselves: the gradients read these, and the next call moves those.
        dtype = self._kernel_dtype(x)
        mean = torch.zeros_like(self.moving_mean.tensor, dtype=dtype)
        variance = torch.zeros_like(self.moving_variance.tensor, dtype=dtype)
        centered = x if shift is None else x - shift
        outputs = self._run_kernel(centered, mean, variance, share)
        if shift is None:
            self._update("moving_mean", mean / share)
        else:
            shift = shift if shift.ndim == 1 else shift.flatten()
            self._update("moving_mean", torch.add(shift, mean, alpha=1 / share))
        self._update("moving_variance", variance)
        return outputs

    def _shift(self, x: Tensor) -> Tensor | None:
        """Return what to subtract first: each channel's first entry where the kernel needs that.

        It changes no result. But on the CPU, where the channels come last in memory, the kernel
        adds up in float32, which far from zero loses digits.
        """
        if not x.is_cpu or x.dtype is not torch.float32:
            return None
        channels = self.axis % x.ndim
        if x.ndim == 2 and channels == 1:  # shorter, for small inputs
            return x.detach()[0]
        if x.ndim > 2 and x.movedim(channels, 1).is_contiguous():
            return None
        index = tuple(slice(None) if axis == channels else slice(1) for axis in range(x.ndim))
        return x.detach()[index]

    def _kernel_dtype(self, x: Tensor) -> torch.dtype:
        return torch.float32 if x.dtype in _HALVES else x.dtype

    def _run_kernel(
        self, x: Tensor, mean: Tensor, variance: Tensor, share: float | None = None
    ) -> Tensor:
        """Call torch's batch norm, which wants the channels second.

        Given a share, normalize by the batch, and mix that share of its statistics into `mean` and
        `variance`; else normalize by these.

        A sequence becomes an image of height 1, for which there are kernels in either layout. So
        does what has an axis of size 1, whose strides may fit both layouts: torch 2.13 then mixes
        them up in gradients.
        """
        dtype = self._kernel_dtype(x) if x.dtype is not mean.dtype else x.dtype
        gamma, beta = self.scale_and_offset(dtype)
        channels = self.axis % x.ndim
        moved = x if channels == 1 else x.movedim(channels, 1)
        is_flat = x.ndim == 3 or (x.ndim > 3 and 1 in moved.shape[2:])
        outputs = torch.batch_norm(
            moved.flatten(2).unsqueeze(2) if is_flat else moved,
            gamma,
            beta,
            in_dtype(mean, dtype),
            in_dtype(variance, dtype),
            share is not None,
            share or 0.0,
            self.epsilon,
            torch.backends.cudnn.enabled,
        )
        outputs = outputs.reshape(moved.shape) if is_flat else outputs
        return outputs if channels == 1 else outputs.movedim(1, channels)

    def _by_moments(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Normalize step by step, where the kernel cannot."""
        mean, variance = self._moments(x, mask)
        gamma, beta = self.scale_and_offset(x.dtype)
        factor, offset = (variance + self.epsilon).rsqrt(), torch.zeros_like(mean)
        if self.renorm:
            ratio, shift = self._correction(mean.detach(), variance.detach())
            factor, offset = factor * ratio, shift
        if gamma is not None:
            factor, offset = factor * gamma, offset * gamma
        if beta is not None:
            offset = offset + beta
        with torch.no_grad():
            self._update("moving_mean", mean)
            if self.renorm:
                self._update_deviations(mean, variance)
            else:
                self._update("moving_variance", variance)
        return (x - self._spread(mean, x)) * self._spread(factor, x) + self._spread(offset, x)

    def _moments(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each channel, of what the mask keeps, over all ranks."""
        axes = [axis for axis in range(x.ndim) if axis != self.axis % x.ndim]
        if mask is None and not self._spans_ranks():
            variance, mean = torch.var_mean(x, axes, correction=0)
            return mean, variance
        # A row that stands in for none, where a rank has no part of the batch, does not count.
        kept = torch.full_like(x, not joined.is_stand_in(), dtype=torch.bool)
        if mask is not None:
            kept = kept & mask.to(torch.bool).unsqueeze(-1)
        total = torch.where(kept, x, 0).sum(axes)
        count = kept.sum(axes).to(x.dtype)
        if self._spans_ranks():
            total, count = ranks.add_up(torch.stack([total, count])).unbind()
        count = count + settings.epsilon()  # where nothing is kept, the mean is 0
        mean = total / count
        squares = torch.where(kept, x - self._spread(mean, x), 0).square().sum(axes)
        if self._spans_ranks():
            squares = ranks.add_up(squares)
        return mean, squares / count

    def _spread(self, values: Tensor, x: Tensor) -> Tensor:
        """Return a value per channel so that it broadcasts against `x`."""
        shape = [1] * x.ndim
        shape[self.axis] = -1
        return values.reshape(shape)

    def _update(self, name: str, value: Tensor, momentum: float | None = None) -> None:
        average: Tensor = getattr(self, name).tensor
        weight = 1.0 - (self.momentum if momentum is None else momentum)
        if average.dtype is value.dtype:
            average.lerp_(value, weight)
        else:
            average.copy_(torch.lerp(average.to(value.dtype), value, weight))

    def _correction(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return renorm's factor and offset, within their limits."""
        limits: Mapping[str, float] = self.renorm_clipping or {}
        deviation = self.renorm_stddev.tensor.to(mean.dtype).clamp(min=self.epsilon**0.5)
        ratio = (variance + self.epsilon).sqrt() / deviation
        shift = (mean - self.renorm_mean.tensor.to(mean.dtype)) / deviation
        if limits.get("rmin") is not None or limits.get("rmax") is not None:
            ratio = ratio.clamp(limits.get("rmin"), limits.get("rmax"))
        if limits.get("dmax") is not None:
            shift = shift.clamp(-limits["dmax"], limits["dmax"])
        return ratio, shift

    def _update_deviations(self, mean: Tensor, variance: Tensor) -> None:
        """Move renorm's averages; the moving variance follows from the moving deviation."""
        deviation = (variance + self.epsilon).sqrt()
        self._update("renorm_mean", mean, self.renorm_momentum)
        self._update("renorm_stddev", deviation, self.renorm_momentum)
        self._update("moving_stddev", deviation)
        squared = self.moving_stddev.tensor.square()
        self.moving_variance.tensor.copy_((squared - self.epsilon).clamp(min=0))


def _single_axis(axis: Any) -> int:
    """Return the axis; files of Keras 2 hold it in a list."""
    if isinstance(axis, list | tuple) and len(axis) == 1:
        axis = axis[0]
    if not arguments.is_integer(axis):
        raise TypeError(f"BatchNormalization: `axis` must be an integer; got axis={axis!r}.")
    return int(axis)


def _clipping(limits: Mapping[str, float] | None) -> dict[str, float]:
    limits = dict(limits or {})
    unknown = sorted(set(limits) - {"rmin", "rmax", "dmax"})
    if unknown:
        raise ValueError(
            "BatchNormalization: `renorm_clipping` may have the keys 'rmin', 'rmax' and 'dmax'; "
            f"got {unknown}."
        )
    low, high, shift = (limits.get(key) for key in ("rmin", "rmax", "dmax"))
    if low is not None and high is not None and high < low:
        raise ValueError(
            "BatchNormalization: `rmax` must be at least `rmin` in renorm_clipping; got "
            f"rmin={low}, rmax={high}."
        )
    if shift is not None and shift < 0:
        raise ValueError(
            f"BatchNormalization: `dmax` must not be negative in renorm_clipping; got dmax={shift}."
        )
    return limits


def _copy_of(initializer: Any) -> Any:
    """Return an initializer like this one that draws its own values, as Keras makes."""
    return initializer.clone() if hasattr(initializer, "clone") else initializer
