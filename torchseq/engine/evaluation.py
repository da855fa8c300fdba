"""`evaluate`, which `fit` uses for validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from torchseq.base import products
from torchseq.base.modes import mode
from torchseq.data.epochs import Epochs
from torchseq.engine.preparation import Preparing, returned
from torchseq.engine.step import Step


class Evaluating(Preparing):
    """The part of `Trainer` that measures a model on data."""

    stop_evaluating: bool = False

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the metrics on data.

        Args:
            x: inputs, samples first; or what gives batches of inputs and targets, as in `fit`.
            y: targets, samples first.
            batch_size: samples per step; 32 by default.
            verbose: 0 silent, 1 or `"auto"` a progress bar, 2 a line.
            sample_weight: a weight per sample.
            steps: batches to evaluate; all by default.
            callbacks: a callback or a list of them.
            return_dict: return name -> value instead of a list.

        Returns:
            The loss, or the list of loss and metrics in compile's order, or the dict.

        Raises:
            ValueError: if the model is not compiled, or data and model do not fit.
        """
        self._need_objective("evaluate")
        source = self._source("evaluate", x, y, sample_weight, batch_size, steps)
        step = self._prepare(source)
        batches = Epochs(source, steps)
        callbacks = self._callbacks(callbacks, False, verbose, 1, batches.num_batches)
        try:
            results = self._evaluate(batches, step, callbacks)
        finally:
            callbacks.close()
        return returned(self._results("evaluate"), results, return_dict)

    def _evaluate(self, batches: Epochs, step: Step, callbacks: Any) -> dict[str, Any]:
        measured = self._results("evaluate")
        self.stop_evaluating = False
        batches.source.restart()
        callbacks.on_test_begin({})
        measured.reset()
        try:
            with _undisturbed(step, callbacks), mode(self, False):  # type: ignore[arg-type]
                self._run("test", batches, step.test, callbacks, lambda: self.stop_evaluating)
        finally:
            batches.close()
        results: dict[str, Any] = measured.read()
        callbacks.on_test_end(results)
        return results


@contextmanager
def _undisturbed(step: Step, callbacks: Any) -> Iterator[None]:
    """Do once for all steps what can be, where nothing of the user's runs between them."""
    if type(step) is not Step:
        yield
        return
    is_watched = callbacks.watches_batches("test")
    with (
        nullcontext() if is_watched else torch.no_grad(),
        products.constant_weights(not is_watched),
    ):
        yield
