"""A training or test step as one compiled graph: forward, loss, backward, optimizer, metrics.

The first batch of a shape runs eagerly, the second is recorded while it runs, and from the third on
the compiled graph runs. So no batch is computed twice, and a step that cannot be compiled has been
taken all the same. A graph reads and writes the tensors of model, optimizer and metrics in place;
the numbers that change from step to step, such as the learning rate, come in as a small tensor.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from torchseq.engine import graphs
from torchseq.engine.objective import Objective
from torchseq.engine.step import Step
from torchseq.engine.step_state import Saved, StepState, TestState, TrainState

_RECORD_AT = 2  # the batch of the first shape that is recorded
_RECORD_OTHERS_AT = 20  # of another shape: an epoch's uneven last batch is not worth seconds


class WholeStep(Step):
    """Runs a model's steps as compiled graphs, one for each shape of batches that comes often.

    Args:
        model: as of `Step`.
        objective: as of `Step`.
        optimizer: as of `Step`.
        options: `backend`, `mode` and `options`, as of `torch.compile`.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        optimizer: Any = None,
        options: Mapping[str, Any] | None = None,
    ):
        super().__init__(model, objective, optimizer)
        self._options = dict(options or {})
        self._graphs: dict[Any, _Graph] = {}
        self._counts: dict[Any, int] = {}
        self._training: TrainState | None = None
        self._is_broken = False

    def train(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Update the weights and the metrics from one batch."""
        key = ("train", _kind(x), _kind(y), _kind(weight), self.optimizer.phase())
        graph = self._graphs.get(key)
        if graph is not None:
            graph.run(x, y, weight)
            self.optimizer.count_step()
            self.objective.count(len(x))
        elif self._is_worth(key):
            self._record(key, self._training_state(), super().train, x, y, weight)
        else:
            super().train(x, y, weight)

    def test(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Update the metrics from one batch."""
        key = ("test", _kind(x), _kind(y), _kind(weight))
        graph = self._graphs.get(key)
        if graph is not None:
            graph.run(x, y, weight)
            self.objective.count(len(x))
        elif self._is_worth(key):
            self._record(key, TestState(self), super().test, x, y, weight)
        else:
            super().test(x, y, weight)

    def _is_worth(self, key: Any) -> bool:
        """Tell whether this batch is the one to record of its shape."""
        if self._is_broken or None in key[1:2]:
            return False
        count = self._counts[key] = self._counts.get(key, 0) + 1
        is_first = next(iter(self._counts)) == key
        return count >= (_RECORD_AT if is_first else _RECORD_OTHERS_AT)

    def _training_state(self) -> TrainState:
        if self._training is None or not self._training.is_valid():
            self._training = TrainState(self)
        return self._training

    def _record(
        self, key: Any, state: StepState, eagerly: Callable[..., None], *batch: Tensor | None
    ) -> None:
        """Take a step and keep its graph; where torch cannot record it, take it eagerly."""
        tensors = [*state.tensors, *(tensor for tensor in batch if tensor is not None)]
        saved = Saved(self, tensors)
        try:
            state.refresh()
            recorded = graphs.record(lambda *given: state.step(*batch), tensors)
            saved.check_bindings()
        except Exception as error:
            saved.restore()
            self._give_up(error)
            eagerly(*batch)
            return
        state.end_step()
        try:
            compiled = graphs.compiled(recorded, tensors, self._options)
        except Exception as error:
            self._give_up(error)
            return
        self._graphs[key] = _Graph(state, compiled)

    def _give_up(self, error: Exception) -> None:
        self._is_broken = True
        warnings.warn(
            "jit_compile: the step could not be compiled and runs eagerly; "
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}",
            stacklevel=4,
        )


class _Graph:
    """A compiled step over the tensors of a state."""

    def __init__(self, state: StepState, compiled: graphs.Compiled):
        self._state = state
        self._compiled = compiled

    def run(self, *batch: Tensor | None) -> None:
        state = self._state
        state.refresh()
        self._compiled([*state.tensors, *[tensor for tensor in batch if tensor is not None]])


def _kind(tensor: Any) -> Any:
    """Return what a graph depends on; None for what is no tensor."""
    return (tensor.shape, tensor.dtype) if isinstance(tensor, Tensor) else None
