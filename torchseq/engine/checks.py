"""Checks of data against a compiled model, once per call of fit or evaluate."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from torchseq import losses
from torchseq.base import arguments
from torchseq.engine.objective import Objective


def check_epochs(**given: Any) -> None:
    """Check the arguments of fit that count epochs.

    Raises:
        ValueError: unless each is an integer of at least 0.
    """
    for name, value in given.items():
        if not arguments.is_integer(value) or value < 0:
            raise ValueError(
                f"fit: `{name}` must be an integer of at least 0; got {name}={value!r}."
            )


def check_frequency(value: Any) -> None:
    """Check `validation_freq`.

    Raises:
        ValueError: unless it is a positive integer or a collection of epochs.
    """
    if not isinstance(value, Collection):
        arguments.positive_integer("fit", "validation_freq", value)


def check_targets(owner: str, objective: Objective, y: Tensor | None, output_shape: Any) -> None:
    """Check that there are targets, and that integer labels are classes of the model.

    Args:
        owner: the method that errors name.
        objective: the loss and the metrics.
        y: all targets.
        output_shape: the model's.

    Raises:
        ValueError: if a loss or metric needs targets and none came, or labels are NaN or no class.
    """
    loss = objective.loss
    if y is None:
        if objective.needs_targets:
            raise ValueError(
                f"{owner}: the loss and the metrics need targets; got y=None. Pass `y`, or compile "
                "without loss if layers add their own."
            )
        return
    if isinstance(loss, losses.TorchLoss):
        if loss.takes_class_numbers(y, output_shape):
            _check_labels(owner, loss, y, output_shape)
    elif getattr(loss, "fn", None) is losses.sparse_categorical_crossentropy:
        _check_labels(owner, loss, y, output_shape)


def _check_labels(owner: str, loss: Any, y: Tensor, output_shape: Any) -> None:
    if y.is_floating_point() and bool(torch.isnan(y).any()):
        raise ValueError(
            f"{owner}: the labels for {loss.name} must be class numbers; got NaN in y. Remove "
            "those samples, or give them sample_weight 0 and any valid label."
        )
    classes = output_shape[-1] if isinstance(output_shape, tuple | list) else None
    if not isinstance(classes, int):
        return
    smallest, largest = (int(value) for value in torch.aminmax(y))
    if isinstance(loss, losses.TorchLoss):
        ignored = loss.ignored_class
    else:
        ignored = (getattr(loss, "_fn_kwargs", None) or {}).get("ignore_class")
    if ignored is not None:
        kept = y[y != ignored]
        if not kept.numel():
            return
        smallest, largest = (int(value) for value in torch.aminmax(kept))
    if smallest < 0 or largest >= classes:
        raise ValueError(
            f"{owner}: the labels for {loss.name} must be in [0, {classes}), since the last layer "
            f"has {classes} outputs; got labels from {smallest} to {largest}. Give the last layer "
            f"{max(largest + 1, classes)} units, or number the classes from 0."
        )
