"""`train_on_batch` and `test_on_batch`: one step, for loops that users write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchseq.base.modes import mode
from torchseq.data.arrays import ArraySource
from torchseq.data.source import Source
from torchseq.distribution.runs import current
from torchseq.engine.preparation import Preparing, returned


class SingleBatch(Preparing):
    """The part of `Trainer` that takes one step at a time."""

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Update the weights from one batch; return its loss and metrics, as `evaluate` does."""
        self._need_objective("train_on_batch")
        source = self._one_batch("train_on_batch", x, y, sample_weight, class_weight)
        update = self._update(self._prepare(source))
        results = self._results("train_on_batch")
        results.reset()
        with mode(self, True):  # type: ignore[arg-type]
            update(*next(source.batches()))
        return returned(results, results.read(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Return the loss and metrics of one batch, as `evaluate` does."""
        self._need_objective("test_on_batch")
        source = self._one_batch("test_on_batch", x, y, sample_weight)
        step = self._prepare(source)
        results = self._results("test_on_batch")
        results.reset()
        with mode(self, False):  # type: ignore[arg-type]
            step.test(*next(source.batches()))
        return returned(results, results.read(), return_dict)

    def _one_batch(
        self,
        owner: str,
        x: Any,
        y: Any,
        weight: Any,
        class_weight: Mapping[int, float] | None = None,
    ) -> Source:
        source = ArraySource(
            x, y, weight, steps=1, class_weight=class_weight, device=self._device(), owner=owner
        )
        run = current()
        return source if run is None else run.split(source)
