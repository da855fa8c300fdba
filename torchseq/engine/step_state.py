"""What a compiled step reads and writes besides the batch, and how it is put back on failure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

from torchseq.base import devices, random_state
from torchseq.engine.flat import Flat
from torchseq.engine.step import Step
from torchseq.optimizers import state

_MOST_FLAT = 2**17  # weights; to put gradients of more into one buffer takes longer than it saves
_MOST_NUMBERS = 8  # that an optimizer has in a step


class StepState:
    """What a compiled step reads and writes besides the batch.

    `tensors` are the graph's first inputs, always in the same order.
    """

    def __init__(self, step: Step):
        self._step = step
        self._looks = self._looked_up()
        self._keep([])

    def _keep(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        self._places = _places(tensors)

    def _found(self) -> list[Tensor]:
        """Return the tensors of the step, as they are now."""
        raise NotImplementedError

    def step(self, *batch: Any) -> tuple[Tensor, ...]:
        """Take a step, of which everything is recorded; return what metrics outside of it need."""
        raise NotImplementedError

    def is_valid(self) -> bool:
        """Tell whether the step still has these tensors, in their places, and treats them alike."""
        if self._looks != self._looked_up() or not _are_same(self.tensors, self._found()):
            return False
        return self._places == _places(self.tensors)

    def _looked_up(self) -> list[Any]:
        """Return what a step looks up, besides tensors, that may change between two fits."""
        model = self._step.model
        frozen = [getattr(module, "trainable", True) for module in model.modules()]
        return [*frozen, *(param.requires_grad for param in model.parameters())]

    def refresh(self) -> None:
        """Write the numbers of this step into their tensor."""

    def end_step(self) -> None:
        """Count a step that was recorded, as far as the recording did not."""

    def give_up_buffer(self) -> bool:
        """Treat weights one by one from now on; return whether they were not before."""
        return False


class TestState(StepState):
    """The state of a test step."""

    def __init__(self, step: Step):
        super().__init__(step)
        self._keep(self._found())

    def _found(self) -> list[Tensor]:
        return _unique([*self._step.model.parameters(), *_other_tensors(self._step)])

    def step(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> tuple[Tensor, ...]:
        """Update the metrics from one batch."""
        model, objective = self._step.model, self._step.objective
        with torch.no_grad():
            y_pred = model(x)
            loss = objective.total_loss(model, y, y_pred, weight)
            return objective.update_in_graph(loss, len(x), y, y_pred, weight)


class TrainState(StepState):
    """The state of a training step.

    Where the optimizer treats each entry alike, all weights of a small model lie in one buffer and
    so does each of its states: their update is one kernel, however many they are.
    """

    def __init__(self, step: Step):
        super().__init__(step)
        optimizer = step.optimizer
        self._params = list(optimizer._params)
        self._names = _names(step.model, self._params)
        found = {id(param) for param in self._names.values()}
        self._are_the_models = all(id(param) in found for param in self._params)
        self._flat = self._flatten() if self._are_the_models else None
        self._host_numbers = torch.zeros(_MOST_NUMBERS, dtype=torch.float64)
        self._on_host = self._host_numbers.numpy()
        self._numbers = self._host_numbers.to(devices.device_of(step.model))  # itself on the CPU
        self._num_numbers = 0
        self._keep(self._found())

    def _flatten(self) -> tuple[Flat, dict[str, Flat]] | None:
        """Return the weights in one buffer, and each state in one, where that can be."""
        optimizer = self._step.optimizer
        lists = [self._params, *optimizer._slots.values()]
        is_frozen = any(not param.requires_grad for param in self._params)  # since it was built
        if is_frozen or not optimizer.can_be_flat:
            return None
        if sum(param.numel() for param in self._params) > _MOST_FLAT:
            return None
        if not all(Flat.fits(tensors) for tensors in lists):
            return None
        slots = {name: Flat(tensors) for name, tensors in optimizer._slots.items()}
        return Flat(self._params), slots

    def _found(self) -> list[Tensor]:
        step, optimizer = self._step, self._step.optimizer
        trained = {id(param) for param in self._params}
        others = [*step.model.parameters(), *_other_tensors(step)]
        if self._flat is None:
            states = (tensor for tensors in optimizer._slots.values() for tensor in tensors)
            main = [*self._params, *states]
        else:
            weights, slots = self._flat
            main = [weights.buffer, *(slot.buffer for slot in slots.values())]
            others = [tensor for tensor in others if id(tensor) not in trained]
        return _unique([self._numbers, *main, *others])

    def is_valid(self) -> bool:
        if not _are_same(self._params, self._step.optimizer._params):
            return False
        if self._flat is not None:
            weights, slots = self._flat
            kept = [tensor for slot in slots.values() for tensor in slot.tensors]
            now = [t for tensors in self._step.optimizer._slots.values() for t in tensors]
            flats = (weights, *slots.values())
            if not _are_same(kept, now) or not all(flat.is_valid() for flat in flats):
                return False
        return super().is_valid()

    def give_up_buffer(self) -> bool:
        if self._flat is None:
            return False
        self._flat = None
        self._keep(self._found())
        return True

    def _looked_up(self) -> list[Any]:
        weights = self._step.optimizer._weights
        rules = [rule for weight in weights for rule in (weight.constraint, weight.regularizer)]
        return [*super()._looked_up(), *rules]  # by identity, unless a user's says otherwise

    def refresh(self) -> None:
        numbers = self._step.optimizer.step_numbers()
        self._on_host[: len(numbers)] = numbers
        self._num_numbers = len(numbers)
        if self._numbers is not self._host_numbers:
            # From memory that is not pinned: CUDA keeps a copy, so the host may go on and write.
            self._numbers.copy_(self._host_numbers, non_blocking=True)

    def end_step(self) -> None:
        self._step.optimizer.count_step()

    def step(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> tuple[Tensor, ...]:
        """Update the weights and the metrics from one batch."""
        model, objective, optimizer = self._step.model, self._step.objective, self._step.optimizer
        leaves, swapped = self._leaves()
        with _reparametrize_module(model, swapped):
            y_pred = model(x)
            loss = objective.total_loss(model, y, y_pred, weight)
            grads = self._gradients(optimizer.scale_loss(loss), leaves)
            if self._flat is not None:
                self._update_flat(grads, *self._flat)  # constraints look for the weights in here
        with torch.no_grad():
            if self._flat is None:
                optimizer.step_from(grads, self._current_numbers())
            return objective.update_in_graph(loss, len(x), y, y_pred, weight)

    def _gradients(self, loss: Tensor, leaves: list[Tensor]) -> list[Tensor | None]:
        """Return the gradients, and those of weights that a step found past the model's modules."""
        both = [*leaves, *(self._params if leaves is not self._params else ())]
        trained = [tensor for tensor in both if tensor.requires_grad]
        found = iter(torch.autograd.grad(loss, trained, allow_unused=True))
        grads = [next(found) if tensor.requires_grad else None for tensor in both]
        own = grads[len(leaves) :] or [None] * len(leaves)
        if self._flat is not None and any(grad is not None for grad in own):
            raise ValueError("a weight is used past its module; it is not in the buffer")
        pairs = zip(grads, own, strict=False)
        return [ours if more is None else _sum(ours, more) for ours, more in pairs]

    def _leaves(self) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return what to differentiate by, and what takes the weights' places in the model.

        New tensors, since autograd's memory of the weights themselves may be bound to a stream that
        no graph can be captured from, by a loss that the user still holds.
        """
        if not self._are_the_models:
            return self._params, {}
        views = self._params
        if self._flat is not None:
            weights, _ = self._flat
            views = weights.views(weights.buffer)
        needed = [param.requires_grad for param in self._params]
        leaves = [view.detach().requires_grad_(n) for view, n in zip(views, needed, strict=True)]
        by_param = dict(zip(map(id, self._params), leaves, strict=True))
        return leaves, {name: by_param[id(param)] for name, param in self._names.items()}

    def _current_numbers(self) -> list[Tensor]:
        return list(self._numbers[: self._num_numbers].unbind())

    @torch.no_grad()
    def _update_flat(self, grads: list[Any], weights: Flat, slots: dict[str, Flat]) -> None:
        if any(grad is None for grad in grads):
            raise ValueError("a weight that is trained has no gradient")
        joined = self._step.optimizer.over(
            [weights.buffer], {name: [slot.buffer] for name, slot in slots.items()}
        )
        joined.step_from([weights.joined(grads)], self._current_numbers())


class Saved:
    """What a step that fails while it is recorded may have changed.

    Args:
        step: whose model and metrics hold tensors.
        tensors: what the step reads and writes.
    """

    def __init__(self, step: Step, tensors: Iterable[Tensor]):
        self._tensors = list(tensors)
        self._values = [tensor.detach().clone() for tensor in self._tensors]
        self._versions = [_version(tensor) for tensor in self._tensors]
        self._random = random_state.get_random_state()
        self._objective = step.objective
        self._num_samples = step.objective.tracker.get_extra_state()
        variables = step.optimizer.variables if step.optimizer is not None else []
        hosted = (variable for variable in variables if state.is_host_variable(variable))
        self._numbers = [(variable, state.number_of(variable)) for variable in hosted]
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
        for metric in (*self._objective.metrics, *self._objective.weighted_metrics):
            if metric.is_compilable and not metric.states():
                raise ValueError(
                    f"the metric {metric.name!r} has no variables; in a compiled step all it keeps "
                    "must be in what `add_variable` makes"
                )

    def check_device(self, device: torch.device) -> None:
        """Raise if the step wrote to a tensor elsewhere: a CUDA graph would not do it again."""
        pairs = zip(self._tensors, self._versions, strict=True)
        written = {id(t) for t, version in pairs if t.device != device and _version(t) != version}
        names = [
            f"{type(module).__name__}.{name}"
            for module, _, name, value in self._holders
            if id(value) in written
        ]
        if written:
            raise ValueError(
                f"in a CUDA graph all that a step writes must be on {device}; {', '.join(names)} "
                "is not. Layers that draw by a seed count on the CPU: leave their `seed` away"
            )

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back."""
        for _, holder, name, value in self._holders:
            holder[name] = value
        for tensor, value in zip(self._tensors, self._values, strict=True):
            tensor.copy_(value)
        random_state.set_random_state(self._random)
        for number, value in self._numbers:
            state.set_number(number, value)
        self._objective.tracker.set_extra_state(self._num_samples)


def _sum(first: Tensor | None, second: Tensor) -> Tensor:
    return second if first is None else first + second


def _names(model: nn.Module, params: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return each place in a model where one of the parameters is; tied ones have several."""
    wanted = {id(param) for param in params}
    return {
        f"{prefix}.{name}" if prefix else name: param
        for prefix, module in model.named_modules()
        for name, param in module._parameters.items()
        if param is not None and id(param) in wanted
    }


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


def _places(tensors: Iterable[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _version(tensor: Tensor) -> int:
    """Return a count of the writes to a tensor; one of inference mode has none."""
    return 0 if tensor.is_inference() else tensor._version


def _are_same(tensors: list[Tensor], others: list[Tensor]) -> bool:
    return len(tensors) == len(others) and all(
        tensor is other for tensor, other in zip(tensors, others, strict=True)
    )


def _unique(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())
