"""What all losses share: conversion of what comes in, alignment of shapes, reduction.

A loss function gives a value per sample; a loss object turns these into one number. On the way
that `fit` takes (no weights, no mask, mean) nothing is converted that already fits, and functions
that have a fused form of their mean use it. Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, joined, logits, naming, registry, settings
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor

if TYPE_CHECKING:
    from typing_extensions import Self

LossFunction: TypeAlias = Callable[..., Any]
_Function = TypeVar("_Function", bound=LossFunction)

_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
_REDUCTIONS = (*_MEANS, "sum", "none", None)
_SHORT = (torch.float16, torch.bfloat16)

_mean_forms: dict[LossFunction, LossFunction] = {}
_label_functions: set[LossFunction] = set()


def has_mean_form(mean: LossFunction) -> Callable[[_Function], _Function]:
    """Return a decorator that says: `mean`, of equal arguments, is this function's mean, fused."""

    def decorate(function: _Function) -> _Function:
        _mean_forms[function] = mean
        return function

    return decorate


def takes_labels(function: _Function) -> _Function:
    """Say that a function wants its targets as they are: class numbers, not converted to floats."""
    _label_functions.add(function)
    return function


class Loss:
    """A loss to subclass: write `call(y_true, y_pred)`, which returns a value per sample.

    Args:
        name: for logs; the class name in snake case by default.
        reduction: what becomes of the values: `"sum_over_batch_size"` or `"mean"` (their mean),
            `"sum"`, `"mean_with_sample_weight"` (weighted sum / sum of weights), `"none"` or None.
        dtype: dtype or policy to compute in; None means floatx.

    Raises:
        ValueError: for another `reduction`.

    Source: keras.Loss. Sample weights with fewer axes than the values weigh all that belongs to a
        sample; Keras fails there, or aligns them with the last axes if sizes allow.
    """

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ):
        self.name = name or naming.auto_name(type(self).__name__)
        self.reduction = arguments.one_of(self, "reduction", reduction, _REDUCTIONS)
        self._dtype = dtypes.get_policy(dtype or settings.floatx()).compute_dtype
        self._torch_dtype = dtypes.torch_dtype(self._dtype)

    @property
    def dtype(self) -> str:
        """Name of the dtype that the loss computes in."""
        return self._dtype

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            y_true: targets.
            y_pred: predictions; a mask that a layer left on them counts.
            sample_weight: weights of the samples, or of single values.
        """
        dtype = self._torch_dtype
        mask = getattr(y_pred, "_keras_mask", None)
        if not isinstance(y_pred, Tensor) or y_pred.dtype is not dtype:
            y_pred = _converted(y_pred, dtype)
        y_true = self._targets(y_true, y_pred)
        values = self.call(y_true, y_pred)
        own_mask = getattr(values, "_keras_mask", None)
        if own_mask is not None:
            mask = own_mask if mask is None else mask & own_mask
        if not isinstance(values, Tensor) or values.dtype is not dtype:
            values = as_tensor(values, dtype)
        if sample_weight is None and mask is None:
            return reduce_values(values, self.reduction)
        return reduce_weighted_values(values, sample_weight, mask, self.reduction)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values per sample, for targets and predictions of the loss's dtype."""
        raise NotImplementedError(f"{type(self).__name__}: a loss must write `call`.")

    def _targets(self, y_true: Any, y_pred: Any) -> Any:
        if isinstance(y_true, Tensor) and y_true.dtype is self._torch_dtype:
            return y_true
        return _converted(y_true, self._torch_dtype, y_pred)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make a loss from what `get_config` returned."""
        return cls(**config)


class LossFunctionWrapper(Loss):
    """Makes a loss object of a function `fn(y_true, y_pred, **kwargs)`.

    Args:
        fn: returns a value per sample.
        reduction, name, dtype: see `Loss`.
        **kwargs: passed to `fn`.

    Source: keras.losses.LossFunctionWrapper.
    """

    def __init__(
        self,
        fn: LossFunction,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        super().__init__(name, reduction, dtype)
        self.fn = fn
        self._fn_kwargs = kwargs
        self._takes_labels = fn in _label_functions
        own_call = type(self).call is LossFunctionWrapper.call
        self._mean_form = _mean_forms.get(fn) if own_call else None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        if type(y_pred) is Tensor and y_pred.dtype in _SHORT:
            y_pred = _longer(y_pred, self._torch_dtype)
        if (
            sample_weight is None
            and self._mean_form is not None
            and self.reduction in _MEANS
            and isinstance(y_pred, Tensor)
            and y_pred.dtype is self._torch_dtype
            and getattr(y_pred, "_keras_mask", None) is None
            and y_pred.numel() > 0  # the mean of nothing would be NaN
        ):
            mean: Tensor = self._mean_form(y_true, y_pred, **self._fn_kwargs)
            return mean
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if isinstance(y_true, Tensor) and isinstance(y_pred, Tensor) and y_true.ndim != y_pred.ndim:
            y_true, y_pred = align_ranks(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def _targets(self, y_true: Any, y_pred: Any) -> Any:
        if self._takes_labels:
            return y_true if isinstance(y_true, Tensor) else _converted(y_true, None, y_pred)
        return super()._targets(y_true, y_pred)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "fn": registry.serialize(self.fn),
            **registry.serialize(self._fn_kwargs),
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(**registry.deserialize(config) if "fn" in config else config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.fn}, kwargs={self._fn_kwargs})>"


class NamedLoss(LossFunctionWrapper):
    """Base of the built-in losses: the function is the class's, options are attributes.

    A subclass names in `_saved` the options that Keras's config has, and in `_unsaved` those that
    Keras's lacks, with their defaults: these are written if they differ, or they would be lost.
    """

    _saved: tuple[str, ...] = ()
    _unsaved: tuple[tuple[str, Any], ...] = ()

    def __init__(
        self, fn: LossFunction, reduction: str | None, name: str | None, dtype: Any, **options: Any
    ):
        super().__init__(fn, reduction, name, dtype, **options)
        vars(self).update(options)

    def get_config(self) -> Config:
        changed = [name for name, usual in self._unsaved if getattr(self, name) != usual]
        options = {name: getattr(self, name) for name in (*self._saved, *changed)}
        return {**Loss.get_config(self), **options}


# --- conversion ---------------------------------------------------------------------------------


def _converted(value: Any, dtype: torch.dtype | None, like: Any = None) -> Any:
    """Return a tensor, array, number or nest of them as tensors, on the device of `like`."""
    if isinstance(value, Tensor):
        return value if dtype is None or value.dtype is dtype else cast(value, dtype)
    if isinstance(value, Mapping):
        return {
            key: _converted(entry, dtype, like.get(key) if isinstance(like, Mapping) else like)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple) and _holds_arrays(value):
        return type(value)(_converted(entry, dtype) for entry in value)
    tensor = as_tensor(value, dtype)
    return tensor.to(like.device) if isinstance(like, Tensor) else tensor


def _holds_arrays(values: list[Any] | tuple[Any, ...]) -> bool:
    return any(isinstance(value, Tensor | np.ndarray | Mapping) for value in values)


def _longer(y_pred: Tensor, dtype: torch.dtype) -> Tensor:
    """Return outputs of a mixed policy in the dtype of the loss, with their mask."""
    mask = getattr(y_pred, "_keras_mask", None)
    y_pred = cast(y_pred, dtype)
    if mask is not None:
        y_pred._keras_mask = mask  # type: ignore[attr-defined]
    return y_pred


def cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in another dtype, with the logits that it remembers."""
    result = value.to(dtype)
    for activation in ("softmax", "sigmoid"):
        known = logits.recall(value, activation)
        if known is not None:
            logits.remember(result, known.to(dtype), activation)
    return result


def paired(owner: str, y_true: Any, y_pred: Any, broadcast: bool = True) -> tuple[Tensor, Tensor]:
    """Return targets and predictions as tensors of equal dtype and shape.

    (N,) and (N, 1) are aligned.

    Args:
        owner: whose they are, for the error.
        y_true, y_pred: tensors, arrays or numbers.
        broadcast: accept a single number, and axes of size 1 before the last one.

    Raises:
        ValueError: if the shapes do not go together.
    """
    if not isinstance(y_pred, Tensor):
        y_pred = as_tensor(y_pred)
    if not y_pred.is_floating_point():
        y_pred = y_pred.to(dtypes.torch_dtype(None))
    if not isinstance(y_true, Tensor):
        y_true = as_tensor(y_true).to(y_pred.device)
    if y_true.dtype is not y_pred.dtype:
        y_true = y_true.to(y_pred.dtype)
    if y_true.shape == y_pred.shape:
        return y_true, y_pred
    return _brought_together(owner, y_true, y_pred, broadcast)


def _brought_together(
    owner: str, y_true: Tensor, y_pred: Tensor, broadcast: bool
) -> tuple[Tensor, Tensor]:
    shapes = tuple(y_true.shape), tuple(y_pred.shape)
    y_true, y_pred = align_ranks(y_true, y_pred)
    if y_true.shape == y_pred.shape:
        return y_true, y_pred
    if broadcast and (y_true.ndim == 0 or y_pred.ndim == 0 or _broadcasts(y_true, y_pred)):
        y_true, y_pred = torch.broadcast_tensors(y_true, y_pred)
        return y_true, y_pred
    raise ValueError(
        f"{owner}: targets and predictions must have the same shape; got y_true of shape "
        f"{shapes[0]} and y_pred of shape {shapes[1]}. Bring the targets into the shape of the "
        "last layer's output, or choose a loss for targets like these."
    )


def _broadcasts(y_true: Tensor, y_pred: Tensor) -> bool:
    return (
        y_true.ndim == y_pred.ndim
        and y_true.shape[-1] == y_pred.shape[-1]
        and _fit(y_true.shape, y_pred.shape)
    )


def _fit(shape: torch.Size, other: torch.Size) -> bool:
    return all(a == b or a == 1 or b == 1 for a, b in zip(shape, other, strict=True))


def align_ranks(x1: Tensor, x2: Tensor, expand_rank_1: bool = True) -> tuple[Tensor, Tensor]:
    """Bring two tensors to the same number of axes where one has one more, of size 1.

    (N,) gets the axis, others with it lose it. Tensors that differ otherwise stay as they are.

    Args:
        x1, x2: the tensors.
        expand_rank_1: False: what goes with (N,) loses the axis, too.

    Source: keras.src.losses.loss.squeeze_or_expand_to_same_rank.
    """
    if x1.ndim < x2.ndim:
        x2, x1 = align_ranks(x2, x1, expand_rank_1)
    elif x1.ndim == x2.ndim + 1 and x1.shape[-1] == 1:
        expands = expand_rank_1 and x2.ndim == 1
        return (x1, x2.unsqueeze(-1)) if expands else (_squeezed(x1), x2)
    return x1, x2


def _squeezed(x: Tensor) -> Tensor:
    result = x.squeeze(-1)
    known = logits.recall(x, "sigmoid")
    return result if known is None else logits.remember(result, known.squeeze(-1), "sigmoid")


# --- reduction ----------------------------------------------------------------------------------


def reduce_values(values: Tensor, reduction: str | None) -> Tensor:
    """Return the mean or sum of unweighted values, or the values themselves."""
    if reduction is None or reduction == "none" or values.ndim == 0:
        return values
    if values.numel() == 0:
        return values if values.ndim == 1 else values.sum()
    return joined.stretched(values.sum()) if reduction == "sum" else values.mean()


def reduce_weighted_values(
    values: Tensor,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: str | None = "sum_over_batch_size",
) -> Tensor:
    """Return the mean or sum of weighted and masked values, or the weighted values.

    A mean divides by the number of values, or of those that the mask leaves: not by the weights,
    except for `"mean_with_sample_weight"`.

    Args:
        values: a value per sample, or per sample and step.
        sample_weight: array or tensor; (N,) and (N, 1) are aligned, missing last axes are added.
        mask: True where a value counts.
        reduction: see `Loss`.

    Raises:
        ValueError: if the shape of the weights or of the mask does not go with the values.

    Source: keras.src.losses.loss.reduce_weighted_values.
    """
    weight = None
    if sample_weight is not None:
        weight = _converted(sample_weight, values.dtype, values)
    if mask is not None:
        mask_weight = _mask_weight(_converted(mask, torch.bool, values), values.dtype, reduction)
        if weight is not None:
            mask_weight, weight = _aligned("sample_weight", mask_weight, weight)
            weight = weight * mask_weight
        else:
            weight = mask_weight
    if weight is None:
        return reduce_values(values, reduction)
    values, weight = _aligned("sample_weight" if mask is None else "mask", values, weight)
    values = values * weight
    if reduction != "mean_with_sample_weight" or values.ndim == 0:
        return reduce_values(values, reduction)
    total = joined.total(weight.sum())
    # Weights that add up to 0 give 0, and no NaN on the way back.
    mean = joined.stretched(values.sum()) / torch.where(total == 0, 1.0, total)
    return torch.where(total == 0, 0.0, mean)


def _mask_weight(mask: Tensor, dtype: torch.dtype, reduction: str | None) -> Tensor:
    """Return 0 where masked; elsewhere what makes a mean over all one over the rest."""
    weight = mask.to(dtype)
    if reduction not in ("mean", "sum_over_batch_size"):
        return weight
    count, kept = joined.counts(mask.numel(), weight.sum())
    factor: Tensor = count / kept.clamp(min=1.0)
    return weight * factor


def _aligned(owner: str, values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    shapes = tuple(values.shape), tuple(weight.shape)
    values, weight = align_ranks(values, weight)
    missing = values.ndim - weight.ndim
    if missing > 0 and _fit(weight.shape, values.shape[: weight.ndim]):
        weight = weight[(..., *[None] * missing)]
    if values.ndim > 0 and not (values.ndim == weight.ndim and _fit(values.shape, weight.shape)):
        raise ValueError(
            f"{owner}: its shape must be that of the loss values, or its first axes theirs; got "
            f"shape {shapes[1]} for values of shape {shapes[0]}."
        )
    return values, weight
