"""Evaluating with the optimizer's moving averages of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchseq.callbacks.callback import Callback
from torchseq.callbacks.learning_rate import optimizers_of


class SwapEMAWeights(Callback):
    """Puts the moving averages of the weights into the model while it is evaluated.

    It needs an optimizer with `use_ema=True`. The weights and their averages change places, so no
    memory is needed. With `swap_on_epoch`, callbacks that come after this one, such as
    `ModelCheckpoint`, find the averages at the end of each epoch.

    Args:
        swap_on_epoch: swap at the end and the beginning of epochs, too.

    Raises:
        ValueError: when there is something to swap, if the optimizer keeps no averages.

    Source: keras.callbacks.SwapEMAWeights. Unlike there, the weights are back after `predict`,
    and if a callback that comes before this one ends training early, the averages stay.
    """

    _kept = ("_ema_weights_in_model",)

    def __init__(self, swap_on_epoch: bool = False):
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._ema_weights_in_model = False

    def on_train_begin(self, logs: Any = None) -> None:
        self._ema_weights_in_model = False
        _check(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.swap_on_epoch:
            self._show(False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.swap_on_epoch:
            return
        self._show(True)
        if epoch == self.params["epochs"] - 1 or self.model.stop_training:
            # `fit` ends by replacing the weights by what stands where the averages were.
            for weights, averages in _pairs(self.model):
                torch._foreach_copy_(averages, [weight.detach() for weight in weights])

    def on_test_begin(self, logs: Any = None) -> None:
        self._show(True)

    def on_test_end(self, logs: Any = None) -> None:
        self._show(False)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._show(True)

    def on_predict_end(self, logs: Any = None) -> None:
        self._show(False)

    @torch.no_grad()
    def _show(self, averages_are_wanted: bool) -> None:
        if self._ema_weights_in_model == averages_are_wanted:
            return
        for weights, averages in _pairs(self.model):
            kept = [weight.detach().clone() for weight in weights]
            torch._foreach_copy_(weights, averages)
            torch._foreach_copy_(averages, kept)
        self._ema_weights_in_model = averages_are_wanted


def _pairs(model: Any) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Yield, for each optimizer that keeps averages, its weights and these."""
    _check(model)
    for _, optimizer in optimizers_of(model):
        if optimizer.use_ema and optimizer.built:
            # Parameters and state as torch has them: their lists change places in a few kernels.
            yield optimizer._params, optimizer._slots["average"]


def _check(model: Any) -> None:
    found = [getattr(optimizer, "use_ema", False) for _, optimizer in optimizers_of(model)]
    if not any(found):
        raise ValueError(
            "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer. Received: "
            f"use_ema={found[0] if len(found) == 1 else found}. Write, for example, "
            "`optimizers.Adam(use_ema=True)`."
        )
