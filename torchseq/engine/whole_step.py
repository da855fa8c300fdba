"""A training or test step as one compiled graph: forward, loss, backward, optimizer, metrics.

The first batch of a shape is recorded while it runs eagerly; then all that the step changed is put
back, and it is taken by the compiled graph, as all later ones are. So a fit that goes on after an
interruption takes each step by the same kernels. A graph reads and writes the tensors of model,
optimizer and metrics in place; the numbers that change from step to step, such as the learning
rate, come in as a small tensor. On a GPU the kernels, compiled or torch's own, can be captured as a
CUDA graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from torchseq.base import devices, fixed_state, products
from torchseq.engine import graphs, jit
from torchseq.engine.captured import Captured
from torchseq.engine.objective import Objective
from torchseq.engine.step import Step
from torchseq.engine.step_state import Saved, StepState, TestState, TrainState

_MOST_GRAPHS = 8  # of a model; batches of more shapes, of texts say, would compile all day


class WholeStep(Step):
    """Runs a model's steps as compiled graphs, one for each shape of batches that comes often.

    Args:
        model: as of `Step`.
        objective: as of `Step`.
        optimizer: as of `Step`.
        options: `backend`, `mode` and `options`, as of `torch.compile`; the backend `"cudagraph"`
            captures torch's kernels.
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
        self._graphs: dict[Any, graphs.Compiled] = {}
        self._states: dict[str, StepState] = {}
        self._is_broken = False

    def __deepcopy__(self, memo: Any) -> None:
        """Return nothing: a copy of the model makes its own graphs."""

    def __reduce__(self) -> Any:
        return type(None), ()

    def can_train_with(self, optimizer: Any) -> bool:
        """Tell whether an optimizer's update can be compiled: those of this package can.

        One with Keras's `update_step` cannot, as it reads the number of steps when it pleases.
        """
        is_ours = hasattr(optimizer, "step_from") and not optimizer._is_by_weight
        return is_ours and not hasattr(optimizer, "inner_optimizer")

    def prepare(self) -> None:
        """Look whether model, optimizer and metrics still have the tensors of the graphs."""
        for name, state in list(self._states.items()):
            if not state.is_valid():
                del self._states[name]
                self._forget(name)

    def _forget(self, name: str) -> None:
        self._graphs = {key: graph for key, graph in self._graphs.items() if key[0] != name}

    def train(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Update the weights and the metrics from one batch."""
        key = ("train", _kind(x), _kind(y), _kind(weight), self.optimizer.phase())
        graph = self._graphs.get(key)
        if graph is not None:
            self._run(self._states["train"], graph, x, y, weight)
            self.optimizer.count_step()
        elif self._is_worth(key):
            self._record(key, TrainState, super().train, x, y, weight)
        else:
            super().train(x, y, weight)

    def test(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Update the metrics from one batch."""
        key = ("test", _kind(x), _kind(y), _kind(weight))
        graph = self._graphs.get(key)
        if graph is not None:
            self._run(self._states["test"], graph, x, y, weight)
        elif self._is_worth(key):
            self._record(key, TestState, super().test, x, y, weight)
        else:
            super().test(x, y, weight)

    def _run(self, state: StepState, graph: graphs.Compiled, *batch: Tensor | None) -> None:
        state.refresh()
        with torch.no_grad():
            outputs = graph([*state.tensors, *_given(batch)])
        products.forget_packs()
        self.objective.count(len(batch[0]))  # type: ignore[arg-type]
        if outputs:
            self.objective.update_after_graph(batch[1], outputs)

    def _is_worth(self, key: Any) -> bool:
        """Tell whether a graph is to be made for such batches."""
        return not self._is_broken and key[1] is not None and len(self._graphs) < _MOST_GRAPHS

    def _record(
        self,
        key: Any,
        kind: type[StepState],
        eagerly: Callable[..., None],
        *batch: Tensor | None,
    ) -> None:
        """Take a step and keep its graph; where torch cannot make one, take it eagerly."""
        state = self._states.get(key[0])
        if state is None:
            state = self._states[key[0]] = kind(self)
        saved = Saved(self, state.tensors)  # not the batch: it may be the user's read-only memory
        try:
            state.refresh()
            with fixed_state.fixed_state():
                graph = self._graph(state, saved, batch)
        except fixed_state.NewState:  # of a metric, made by its first batch
            saved.restore()
            eagerly(*batch)
            self.prepare()
            return
        except Exception as error:
            saved.restore()
            # Weights in one buffer share a count of writes: a layer that writes one seems to have
            # written them all, and torch refuses the backward pass.
            if state.give_up_buffer():
                self._forget(key[0])
                self._record(key, kind, eagerly, *batch)
                return
            eagerly(*batch)  # raises again what is the user's to know
            self._give_up(error)
            return
        saved.restore()
        self._graphs[key] = graph
        self._run(state, graph, *batch)
        state.end_step()

    def _graph(
        self, state: StepState, saved: Saved, batch: tuple[Tensor | None, ...]
    ) -> graphs.Compiled:
        """Return the step as a graph."""
        if self._options.get("backend") == jit.CUDAGRAPH:
            is_there = [tensor is not None for tensor in batch]  # the batch may be all of the data
            return self._captured(lambda given: state.step(*_filled(is_there, given)), saved, batch)
        tensors = [*state.tensors, *_given(batch)]
        recorded = graphs.record(lambda *given: state.step(*batch), tensors)
        saved.check_bindings()
        graph = graphs.compiled(recorded, tensors, self._options)
        if not jit.captures(self._options):
            return graph
        gradless = torch.no_grad()(graph)
        return self._captured(lambda given: gradless([*state.tensors, *given]), saved, batch)

    def _captured(
        self, run: Callable[[list[Tensor]], Any], saved: Saved, batch: tuple[Tensor | None, ...]
    ) -> Captured:
        device = devices.device_of(self.model)
        captured = Captured(run, _given(batch), device)
        captured.warm_up()
        saved.check_bindings()
        saved.check_device(device)
        captured.capture()
        return captured

    def _give_up(self, error: Exception) -> None:
        self._is_broken = True
        warnings.warn(
            "jit_compile: the step could not be compiled and runs eagerly; "
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}",
            stacklevel=4,
        )


def _kind(tensor: Any) -> Any:
    """Return what a graph depends on; None for what is no tensor."""
    return (tensor.shape, tensor.dtype) if isinstance(tensor, Tensor) else None


def _given(batch: Iterable[Tensor | None]) -> list[Tensor]:
    return [tensor for tensor in batch if tensor is not None]


def _filled(is_there: Iterable[bool], given: Iterable[Tensor]) -> list[Tensor | None]:
    """Return a batch: the given tensors, and None where it has none."""
    tensors = iter(given)
    return [next(tensors) if each else None for each in is_there]
