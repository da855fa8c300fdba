"""`predict`: the model's outputs for data, on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, products
from torchseq.base.modes import mode
from torchseq.data.arrays import ArraySource
from torchseq.data.conversion import move, to_tensor
from torchseq.data.epochs import Epochs
from torchseq.data.source import Batch
from torchseq.distribution.runs import current, whole_weights
from torchseq.engine import gather, hooks
from torchseq.engine.loop import run_batches, run_groups
from torchseq.engine.preparation import Preparing

_DEFAULT_BATCH_SIZE = 32


class Predicting(Preparing):
    """The part of `Trainer` that hands out a model's outputs."""

    stop_predicting: bool = False

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs for data as a NumPy array.

        Args:
            x: inputs, samples first; or what gives batches, of which the inputs count.
            batch_size: samples per step; 32 by default. Small ones are computed as one where no
                callback watches the steps and each sample's outputs depend on that sample alone.
            verbose: 0 silent, 1 or `"auto"` a progress bar, 2 a line.
            steps: batches to predict; all by default.
            callbacks: a callback or a list of them.

        Returns:
            An array, samples first, in the order of `x`; a list or dict of them if the model
            returns several.

        Raises:
            ValueError: if data and model do not fit.
        """
        if verbose == 0 and callbacks is None and steps is None:
            rows = self._few_rows(x, batch_size)
            if rows is not None:
                return self._predict_rows(rows)
        source = self._source("predict", x, None, None, batch_size, steps, inputs_only=True)
        self._build_for(source)
        batches = Epochs(source, steps)
        callbacks = self._callbacks(callbacks, False, verbose, 1, batches.num_batches)
        outputs = gather.Gatherer(source.num_samples, batches.num_batches)
        callbacks.on_predict_begin({})
        try:
            with mode(self, False):  # type: ignore[arg-type]
                self._predict(batches, outputs, callbacks)
        finally:
            callbacks.close()
            batches.close()
        callbacks.on_predict_end({})
        return outputs.result()

    def _predict(self, batches: Epochs, outputs: gather.Gatherer, callbacks: Any) -> None:
        """Gather the outputs for all batches."""
        self.stop_predicting = False
        run = current()
        outputs_of = self._outputs_of if run is None else run.outputs(self, batches.source)

        def step(inputs: Tensor, *targets: Any) -> None:
            outputs.add(outputs_of(inputs))

        def several(group: list[Batch]) -> None:
            outputs.add(outputs_of(*[batch[0] for batch in group]))

        def logs() -> Any:
            return {"outputs": outputs.latest}

        def should_stop() -> bool:
            return self.stop_predicting

        size, stride = self.steps_per_execution, 1
        has_own = hooks.overrides(self, hooks.PREDICTION)
        is_watched = has_own or run is not None or callbacks.watches_batches("predict")
        is_alone = (
            not is_watched and isinstance(batches.source, ArraySource) and self._is_indifferent()
        )
        if is_alone:
            stride, outputs_of = self._joining(batches)
        rest = (callbacks, logs, should_stop, 0)
        with products.constant_weights(is_alone):
            if size == 1:
                run_batches("predict", batches.epoch(), step, *rest, stride)
            else:
                run_groups("predict", batches.epoch(), several, *rest, size)

    def _joining(self, batches: Epochs) -> tuple[int, Callable[..., Any]]:
        """Have the source join batches; return how many go as one, and what computes them."""
        count, batch_size = self._join_batches(batches)

        def outputs_of(inputs: Tensor) -> Any:
            with products.joined(max(len(inputs) // batch_size, 1)):
                return self._outputs_of(inputs)

        return count, self._outputs_of if count == 1 else outputs_of

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs of one batch as a NumPy array."""
        source = ArraySource(x, steps=1, device=self._device(), owner="predict_on_batch")
        self._build_for(source)
        return self._predict_rows(source.example()[0])

    def _few_rows(self, x: Any, batch_size: Any) -> Tensor | None:
        """Return `x` as a tensor if it is an array of no more than a batch, for a built model."""
        if not isinstance(x, np.ndarray | Tensor) or not self.built:  # type: ignore[attr-defined]
            return None
        if batch_size is None:
            batch_size = _DEFAULT_BATCH_SIZE
        if not arguments.is_integer(batch_size) or not x.ndim or not 0 < len(x) <= batch_size:
            return None
        return to_tensor("predict", "x", x)

    def _predict_rows(self, rows: Tensor) -> Any:
        """Return the outputs of one batch, without a loop."""
        with whole_weights(self), mode(self, False):  # type: ignore[arg-type]
            return gather.copied(self._outputs_of(move(rows, self._device())))

    def _outputs_of(self, *inputs: Tensor) -> Any:
        """Return the outputs for one batch, or those for several as one."""
        if hooks.overrides(self, hooks.PREDICTION):
            function = self.make_predict_function() or self.predict_function
            return function(list(inputs))
        with torch.inference_mode():
            return hooks.joined([self(batch) for batch in inputs])  # type: ignore[operator]
