"""What a compiled step reads and writes besides the batch, and how it is put back on failure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

from torchseq.engine.flat import Flat
from torchseq.engine.step import Step

_MOST_NUMBERS = 8  # that an optimizer has in a step


class StepState:
    """What a compiled step reads and writes besides the batch.

    `tensors` are the graph's first inputs, always in the same order.
    """

    def __init__(self, step: Step):
        self._step = step
        self.tensors: list[Tensor] = []

    def step(self, *batch: Any) -> tuple[()]:
        """Take a step, of which everything is recorded."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Write the numbers of this step into their tensor."""

    def end_step(self) -> None:
        """Count a step that was recorded, as far as the recording did not."""


class TestState(StepState):
    """The state of a test step."""

    def __init__(self, step: Step):
        super().__init__(step)
        self.tensors = _unique([*step.model.parameters(), *_other_tensors(step)])

    def step(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> tuple[()]:
        """Update the metrics from one batch."""
        Step.test(self._step, x, y, weight)
        return ()


class TrainState(StepState):
    """The state of a training step.

    Where the optimizer treats each entry alike, all weights lie in one buffer and so does each of
    its states: their update is one kernel, however many they are.
    """

    def __init__(self, step: Step):
        super().__init__(step)
        optimizer = step.optimizer
        trained = {id(param) for param in optimizer._params}
        named = step.model.named_parameters()
        self._names = {name: param for name, param in named if id(param) in trained}
        slots = optimizer._slots
        self._flats: dict[str, Flat] | None = None
        if optimizer.can_be_flat and len(self._names) == len(trained):
            lists = [optimizer._params, *slots.values()]
            if all(Flat.fits(tensors) for tensors in lists):
                self._flats = {name: Flat(tensors) for name, tensors in slots.items()}
                self._params = Flat(optimizer._params)
        self._numbers = torch.zeros(_MOST_NUMBERS, dtype=torch.float64)
        self._on_host = self._numbers.numpy()
        main = self._main_tensors()
        flat = {id(tensor) for tensor in optimizer._params} if self._flats is not None else set()
        others = [tensor for tensor in _other_tensors(step) if id(tensor) not in flat]
        frozen = [param for param in step.model.parameters() if id(param) not in trained]
        self.tensors = _unique([self._numbers, *main, *frozen, *others])

    def _main_tensors(self) -> list[Tensor]:
        if self._flats is not None:
            return [self._params.buffer, *(flat.buffer for flat in self._flats.values())]
        optimizer = self._step.optimizer
        return [*optimizer._params, *(t for tensors in optimizer._slots.values() for t in tensors)]

    def is_valid(self) -> bool:
        """Tell whether weights and states still are where they were."""
        if self._flats is None:
            return True
        return self._params.is_valid() and all(flat.is_valid() for flat in self._flats.values())

    def refresh(self) -> None:
        numbers = self._step.optimizer.step_numbers()
        self._on_host[: len(numbers)] = numbers
        self._num_numbers = len(numbers)

    def end_step(self) -> None:
        self._step.optimizer.count_step()

    def step(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> tuple[()]:
        """Update the weights and the metrics from one batch."""
        model, objective, optimizer = self._step.model, self._step.objective, self._step.optimizer
        params = optimizer._params
        leaves = list(params)
        if self._flats is not None:
            views = self._params.views(self._params.buffer)
            leaves = [view.detach().requires_grad_() for view in views]
        by_param = dict(zip(map(id, params), leaves, strict=True))
        swapped = {name: by_param[id(param)] for name, param in self._names.items()}
        with _reparametrize_module(model, swapped if self._flats is not None else {}):
            y_pred = model(x)
            loss = objective.total_loss(model, y, y_pred, weight)
            grads = torch.autograd.grad(optimizer.scale_loss(loss), leaves, allow_unused=True)
            with torch.no_grad():
                self._update(list(grads))
                objective.update(loss, len(x), y, y_pred, weight)
        return ()

    def _update(self, grads: list[Tensor | None]) -> None:
        optimizer = self._step.optimizer
        numbers = list(self._numbers[: self._num_numbers].unbind())
        if self._flats is None:
            optimizer.step_from(grads, numbers)
            return
        if any(grad is None for grad in grads):
            raise ValueError("a weight that is trained has no gradient")
        joined = optimizer.over(
            [self._params.buffer], {name: [flat.buffer] for name, flat in self._flats.items()}
        )
        joined.step_from([self._params.joined(grads)], numbers)  # type: ignore[arg-type]


class Saved:
    """What a step that fails while it is recorded may have changed.

    Args:
        step: whose model and metrics hold tensors.
        tensors: what the step reads and writes.
    """

    def __init__(self, step: Step, tensors: Iterable[Tensor]):
        self._tensors = list(tensors)
        self._values = [tensor.detach().clone() for tensor in self._tensors]
        self._random = torch.get_rng_state()
        self._objective = step.objective
        self._num_samples = step.objective.tracker.get_extra_state()
        self._holders = [
            (module, holder, name, value)
            for module in _modules(step)
            for holder in (module._buffers, module.__dict__)
            for name, value in holder.items()
            if isinstance(value, Tensor)
        ]

    def check_bindings(self) -> None:
        """Raise if a module holds another tensor than before: a graph would not bind it anew."""
        for module, holder, name, value in self._holders:
            if holder.get(name) is not value:
                raise ValueError(
                    f"{type(module).__name__}.{name} became another tensor; in a compiled step it "
                    "must be written in place, as by `tensor.copy_(...)`"
                )

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back."""
        for _, holder, name, value in self._holders:
            holder[name] = value
        for tensor, value in zip(self._tensors, self._values, strict=True):
            tensor.copy_(value)
        torch.set_rng_state(self._random)
        self._objective.tracker.set_extra_state(self._num_samples)


def _modules(step: Step) -> list[nn.Module]:
    """Return all modules in which a step may keep tensors: of model, loss and metrics."""
    objective = step.objective
    roots = [step.model, objective.loss, *objective.all_metrics()]
    return [part for root in roots if isinstance(root, nn.Module) for part in root.modules()]


def _other_tensors(step: Step) -> list[Tensor]:
    """Return the tensors that are no weights: buffers, metrics' states, positions of streams."""
    found: list[Tensor] = []
    for module in _modules(step):
        holders = (module._parameters, module._buffers, module.__dict__)
        found += [v for holder in holders for v in holder.values() if isinstance(v, Tensor)]
    return found


def _unique(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())
