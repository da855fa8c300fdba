"""`evaluate`, which `fit` uses for validation."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
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
        is_alone = type(step) is Step and not callbacks.watches_batches("test")
        try:
            with mode(self, False), torch.no_grad() if is_alone else nullcontext():  # type: ignore[arg-type]
                self._test_all(batches, step, callbacks, is_alone)
        finally:
            batches.close()
        results: dict[str, Any] = measured.read()
        callbacks.on_test_end(results)
        return results

    def _test_all(self, batches: Epochs, step: Step, callbacks: Any, is_alone: bool) -> None:
        is_alone = is_alone and self._runs_known_code(batches)
        test, stride = step.test, 1
        if is_alone:
            stride, batch_size = self._join_batches(batches)
            if stride > 1:
                test = partial(step.test_joined, batch_size=batch_size)
        try:
            with products.constant_weights(is_alone):
                self._run(
                    "test", batches, test, callbacks, lambda: self.stop_evaluating, stride=stride
                )
        finally:
            if stride > 1:  # the data may be gone through again, in other groups
                batches.source.join_batches(0)  # type: ignore[attr-defined]
