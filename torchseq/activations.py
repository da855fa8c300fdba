"""Activations: torch functions under Keras's names, defaults and formulas.

`softmax` and `sigmoid` note their input on their output, where the cross-entropies look for it.

Source: keras.activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base import logits, registry
from torchseq.base.variable import as_tensor

__all__ = [
    "celu",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]


def relu(
    x: Tensor,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Tensor:
    """Rectified linear unit: `max(x, 0)`.

    Args:
        x: tensor, array or number.
        negative_slope: slope below `threshold`.
        max_value: the largest value returned.
        threshold: values up to it count as negative.

    Source: keras.activations.relu.
    """
    x = _tensor(x)
    if max_value is None and threshold == 0.0:
        return torch.relu(x) if negative_slope == 0.0 else F.leaky_relu(x, negative_slope)
    return _general_relu(x, negative_slope, max_value, threshold)


def _general_relu(
    x: Tensor, negative_slope: float, max_value: float | None, threshold: float
) -> Tensor:
    if threshold != 0.0:
        positive = torch.where(x > threshold, x, 0)
    elif max_value == 6:
        positive, max_value = F.relu6(x), None  # its gradient at 6 differs from the clamp's
    else:
        positive = torch.relu(x)
    if max_value is not None:
        positive = positive.clamp(0, max_value)
    if negative_slope == 0.0:
        return positive
    return positive - negative_slope * torch.relu(threshold - x)


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """Return `x` where it is positive, else `negative_slope * x`.

    Source: keras.activations.leaky_relu. The layer LeakyReLU has another default slope.
    """
    return F.leaky_relu(_tensor(x), negative_slope)


def relu6(x: Tensor) -> Tensor:
    """Return `x` clipped to [0, 6]."""
    return F.relu6(_tensor(x))


def softmax(x: Tensor, axis: int | tuple[int, ...] | None = -1) -> Tensor:
    """Softmax: `exp(x) / sum(exp(x))`, so that values along `axis` add up to 1.

    Args:
        x: tensor, array or list.
        axis: one axis, several that are normalized together, or None for all.

    Source: keras.activations.softmax.
    """
    x = _tensor(x)
    if isinstance(axis, int):
        output = torch.softmax(x, axis)
        if axis == -1 or axis == x.ndim - 1:  # the axis along which losses read logits
            logits.remember(output, x, "softmax")
        return output
    return _over_several_axes(torch.softmax, x, axis)


def log_softmax(x: Tensor, axis: int | tuple[int, ...] | None = -1) -> Tensor:
    """Return the logarithm of `softmax(x)`, without its overflow.

    Source: keras.activations.log_softmax.
    """
    x = _tensor(x)
    if isinstance(axis, int):
        return torch.log_softmax(x, axis)
    return _over_several_axes(torch.log_softmax, x, axis)


def _over_several_axes(function: Any, x: Tensor, axes: tuple[int, ...] | None) -> Tensor:
    """Apply a function of one axis over several, seen as one; None means all."""
    if axes is None:
        axes = tuple(range(x.ndim))
    last = tuple(range(-len(axes), 0))
    moved = x.movedim(axes, last)
    output: Tensor = function(moved.flatten(-len(axes)), -1)
    return output.view(moved.shape).movedim(last, axes)


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return `x` where it is positive, else `alpha * (exp(x / alpha) - 1)`."""
    return F.celu(_tensor(x), alpha)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return `x` where it is positive, else `alpha * (exp(x) - 1)`."""
    return F.elu(_tensor(x), alpha)


def selu(x: Tensor) -> Tensor:
    """Scaled ELU, whose constants keep mean and variance; goes with `lecun_normal`."""
    return F.selu(_tensor(x))


def softplus(x: Tensor) -> Tensor:
    """Return `log(exp(x) + 1)`."""
    return F.softplus(_tensor(x))


def softsign(x: Tensor) -> Tensor:
    """Return `x / (abs(x) + 1)`."""
    return F.softsign(_tensor(x))


def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """Return `(x + sqrt(x² + b)) / 2`."""
    x = _tensor(x)
    return (x + torch.sqrt(x.square() + b)) / 2


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Return `x` moved toward 0 by `threshold`, and 0 within it."""
    return F.softshrink(_tensor(x), threshold)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """Return `x` where `abs(x) > threshold`, else 0."""
    return F.hardshrink(_tensor(x), threshold)


def tanh_shrink(x: Tensor) -> Tensor:
    """Return `x - tanh(x)`."""
    return F.tanhshrink(_tensor(x))


def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """Return `x` where it exceeds `threshold`, else `default_value`."""
    return F.threshold(_tensor(x), threshold, default_value)


def sparse_plus(x: Tensor) -> Tensor:
    """Return 0 up to -1, `x` from 1 on, and `(x + 1)² / 4` between."""
    x = _tensor(x)
    return torch.where(x <= -1, torch.zeros_like(x), torch.where(x < 1, 0.25 * (x + 1) ** 2, x))


def silu(x: Tensor) -> Tensor:
    """Return `x * sigmoid(x)`; also called swish."""
    return F.silu(_tensor(x))


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """Gaussian error linear unit: `x * P(X <= x)` for a standard normal X.

    Args:
        x: tensor or array.
        approximate: use the formula with tanh.

    Source: keras.activations.gelu. `ops.gelu` approximates by default, this does not.
    """
    return F.gelu(_tensor(x), approximate="tanh" if approximate else "none")


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """Return `a * sigmoid(b)`, where `a` and `b` are the halves of `x` along `axis`."""
    return F.glu(_tensor(x), axis)


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(_tensor(x))


def sigmoid(x: Tensor) -> Tensor:
    """Return `1 / (1 + exp(-x))`."""
    x = _tensor(x)
    return logits.remember(torch.sigmoid(x), x, "sigmoid")


def log_sigmoid(x: Tensor) -> Tensor:
    """Return the logarithm of `sigmoid(x)`, without its overflow."""
    return F.logsigmoid(_tensor(x))


def sparse_sigmoid(x: Tensor) -> Tensor:
    """Return 0 up to -1, 1 from 1 on, and `(x + 1) / 2` between."""
    x = _tensor(x)
    return torch.where(
        x <= -1, torch.zeros_like(x), torch.where(x >= 1, torch.ones_like(x), 0.5 * (x + 1))
    )


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return `x / 6 + 0.5`, clipped to [0, 1].

    Examples:
        >>> hard_sigmoid(torch.tensor(1.0))
        tensor(0.6667)
    """
    return F.hardsigmoid(_tensor(x))


def hard_silu(x: Tensor) -> Tensor:
    """Return `x * hard_sigmoid(x)`; also called hard swish."""
    return F.hardswish(_tensor(x))


def hard_tanh(x: Tensor) -> Tensor:
    """Return `x` clipped to [-1, 1]."""
    return F.hardtanh(_tensor(x))


def exponential(x: Tensor) -> Tensor:
    """Return `exp(x)`."""
    return torch.exp(_tensor(x))


def linear(x: Tensor) -> Tensor:
    """Return `x` as it is."""
    return x


def mish(x: Tensor) -> Tensor:
    """Return `x * tanh(softplus(x))`."""
    return F.mish(_tensor(x))


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """Sparsemax: the nearest point of the probability simplex, many of its entries exactly 0.

    Args:
        x: tensor or array.
        axis: along which the values add up to 1.

    Source: keras.activations.sparsemax; Martins and Astudillo, 2016, arXiv:1602.02068.
    """
    x = _tensor(x).movedim(axis, -1)
    ordered = x.sort(dim=-1, descending=True).values
    sums = ordered.cumsum(-1)
    counts = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    is_support = ordered > (sums - 1) / counts
    size = is_support.sum(-1, keepdim=True)
    # Keras quirk: it adds up the cumulative sums, where the paper takes the last one. Kept, so
    # that models of both libraries agree; the result is no distribution if the support is large.
    excess = torch.where(is_support, sums, 0).sum(-1, keepdim=True) - 1
    return torch.clamp(x - excess / size, min=0.0).movedim(-1, axis)


swish = silu
hard_swish = hard_silu


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else as_tensor(x)


_NAMES = {
    name: globals()[name] for name in __all__ if name not in {"deserialize", "get", "serialize"}
}
_FAMILY = registry.Family("activation", "keras.activations", _NAMES, instantiate=False)
registry.register_builtin("keras.activations", _NAMES)


def get(identifier: Any) -> Any:
    """Return the activation for a name, config or callable; None is `linear`.

    Raises:
        ValueError: if the name is not known.
        TypeError: if it is none of these.

    Examples:
        >>> get("swish").__name__
        'silu'
    """
    return linear if identifier is None else _FAMILY.get(identifier)


def serialize(activation: Any) -> Any:
    """Return the name of one of these functions, or the config of any other callable."""
    return _FAMILY.serialize(activation)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the activation that a name or config describes."""
    return _FAMILY.deserialize(config, custom_objects)


_OF_TENSORS: dict[Any, Any] = {relu: torch.relu, tanh: torch.tanh, linear: None}


def of_tensors(activation: Any) -> Any:
    """Return what an activation does with tensors, without a look at its input; None for nothing.

    Examples:
        >>> of_tensors(relu) is torch.relu, of_tensors(softmax) is softmax, of_tensors(linear)
        (True, True, None)
    """
    if not isinstance(activation, FunctionType):
        return activation
    return _OF_TENSORS.get(activation, activation)
