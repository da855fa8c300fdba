"""Losses that are torch modules, such as `torch.nn.CrossEntropyLoss()`."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import naming
from torchseq.base.types import Config
from torchseq.losses.loss import Loss, align_ranks, paired, reduce_weighted_values

_OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_OF_PAIRS = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.HuberLoss,
    nn.KLDivLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.PoissonNLLLoss,
    nn.SmoothL1Loss,
    nn.SoftMarginLoss,
)
_TARGETS = ("y_true", "target", "targets", "label", "labels", "true")


class TorchLoss(Loss):
    """A torch module as a loss.

    torch's losses take the prediction first; a module whose first argument is called `y_true`,
    `target`, `targets`, `label`, `labels` or `true` gets the target first. Targets come as the
    module wants them:

    - (batch,) and (batch, 1) are aligned, as for other losses;
    - class numbers for CrossEntropyLoss, NLLLoss and MultiMarginLoss may be of shape (batch,) or
      (batch, 1) and of any dtype; classes lie on the last axis of predictions, as in Keras, and
      are moved where torch wants them second;
    - for the other losses of torch, targets are converted to the predictions' dtype.

    The module reduces by itself. With `reduction="none"` it does not, and its values take sample
    weights and masks like those of any loss; otherwise sample weights are an error.

    Args:
        module: the loss; parameters of its own are not trained.
        reduction, name, dtype: see `Loss`; they matter if the module returns several values.
    """

    def __init__(
        self,
        module: nn.Module,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name or naming.to_snake_case(type(module).__name__), reduction, dtype)
        self.module = module
        arguments = list(inspect.signature(module.forward).parameters)
        self._has_target_first = bool(arguments) and arguments[0] in _TARGETS

    def get_config(self) -> Config:
        """A module has no config.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"TorchLoss: a torch module has no config to save; got {self.module!r}. Use "
            "`save_weights`, or compile with a function that calls it."
        )

    @property
    def ignored_class(self) -> int | None:
        """The class number that the module leaves out."""
        return getattr(self.module, "ignore_index", None)

    def takes_class_numbers(self, y_true: Tensor, output_shape: Any) -> bool:
        """Tell whether targets are numbers of the classes on the last axis of the output."""
        if not isinstance(self.module, _OF_CLASSES):
            return False
        without_classes = len(output_shape) - 1
        has_extra_axis = y_true.ndim == without_classes + 1 and y_true.shape[-1] == 1
        shape = tuple(y_true.shape)[:without_classes]
        fits = shape[1:] == tuple(output_shape)[1:without_classes]
        return fits and (has_extra_axis or y_true.ndim == without_classes)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Return the loss of a batch.

        Raises:
            ValueError: for sample weights if the module reduces; for shapes that do not fit.
        """
        mask = getattr(y_pred, "_keras_mask", None)
        if isinstance(y_true, Tensor) and isinstance(y_pred, Tensor):
            y_true, y_pred = self._arranged(y_true, y_pred)
        first, second = (y_true, y_pred) if self._has_target_first else (y_pred, y_true)
        values: Tensor = self.module(first, second)
        if values.ndim:
            return reduce_weighted_values(values, sample_weight, mask, self.reduction)
        if sample_weight is not None:
            raise ValueError(
                f"{type(self.module).__name__}: sample weights and class weights need a loss per "
                "sample, and this module has reduced them to one; got weights. Make the module "
                'with reduction="none", or use a loss of torchseq\'s.'
            )
        return values

    def _arranged(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.module, _OF_PAIRS):
            return paired(type(self.module).__name__, y_true, y_pred, broadcast=False)
        is_column = y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1 != y_pred.shape[-1]
        is_of_classes = isinstance(self.module, _OF_CLASSES)
        if is_column and (is_of_classes or not y_true.is_floating_point()):
            y_true = y_true.squeeze(-1)  # class numbers
        if is_of_classes:
            return _with_classes_second(y_true, y_pred)
        if y_true.is_floating_point() or y_true.dtype is torch.bool:
            y_true = y_true.to(y_pred.dtype)
        return align_ranks(y_true, y_pred)


def _with_classes_second(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    if y_true.ndim == y_pred.ndim:  # a probability for each class
        return y_true.to(y_pred.dtype).movedim(-1, 1), y_pred.movedim(-1, 1)
    # Class numbers that fit only an output with classes second: a torch module made that one.
    if y_true.shape == y_pred.shape[:-1] and y_pred.ndim > 2:
        y_pred = y_pred.movedim(-1, 1)
    return y_true.long(), y_pred
