"""What a fit must know to go on in another process as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import pieces, process
from torchseq.base.random_state import get_random_state, set_random_state
from torchseq.data.epochs import Epochs
from torchseq.engine.objective import Objective
from torchseq.metrics import merging
from torchseq.optimizers import TorchOptimizer


class Position:
    """Where a running fit is; a restored backup moves it.

    Args:
        batches: of the training data.
        epoch: in which to begin.
    """

    def __init__(self, batches: Epochs, epoch: int):
        self.batches = batches
        self.batches.is_recorded = True
        self.epoch = epoch
        self.step = 0  # batches of the epoch that are done
        self.is_over = False
        self.logs: dict[str, Any] = {}

    def epochs(self, stop: int) -> Iterator[int]:
        """Yield the epochs that are left."""
        return iter(()) if self.is_over else iter(range(self.epoch, stop))

    def take_step(self) -> int:
        """Return the step in which the epoch goes on; later epochs begin at 0."""
        step, self.step = self.step, 0
        return step

    def __reduce__(self) -> Any:
        # A callback may copy or pickle the model; the running fit is no part of that.
        return (_nothing, ())


def _nothing() -> None:
    return None


class Resumable:
    """The part of `Trainer` that hands a running fit's state to a backup and takes it back."""

    optimizer: Any
    stop_training: bool
    _objective: Objective | None
    _position: Position | None = None

    def get_fit_state(self, epoch: int, step: int, logs: dict[str, Any]) -> dict[str, Any]:
        """Return all that the running fit needs to go on; for use in a callback's hook.

        Args:
            epoch: in which to go on.
            step: batches of it that are done.
            logs: results of the last whole epoch.

        Returns:
            Numbers, text and tensors, nested. The tensors are the model's own: copy them.
        """
        position = self._need_position()
        size = position.batches.num_batches
        step = step if size is None else min(step, size)  # the last group of batches may be smaller
        return {
            "epoch": epoch,
            "step": step,
            "logs": dict(logs),
            "stop_training": bool(self.stop_training),
            "model": _tensors(self),  # type: ignore[arg-type]
            "optimizer": _optimizer_state(self.optimizer),
            "metrics": _metric_states(self._objective) if step else None,
            "data": position.batches.state(),
            "random": get_random_state(),
        }

    def set_fit_state(self, state: dict[str, Any], has_begun: bool = False) -> None:
        """Let the running fit go on from a state; for use in `on_train_begin`.

        To go on in the middle of an epoch, do it again in `on_epoch_begin`.

        Args:
            state: what `get_fit_state` returned.
            has_begun: whether the epoch has, that is in `on_epoch_begin`.

        Raises:
            ValueError: if the state is not of this model and optimizer.
        """
        position = self._need_position()
        _load_tensors(self, state["model"])  # type: ignore[arg-type]
        _load_optimizer(self.optimizer, state["optimizer"])
        if state["step"]:
            _load_metric_states(self._objective, state["metrics"])
        self.stop_training = state["stop_training"]
        position.epoch, position.step = state["epoch"], state["step"]
        position.logs = state["logs"]
        position.is_over = self.stop_training and not position.step
        if has_begun or not position.step:  # once: what can only be iterated loses batches
            position.batches.seek(state["data"], position.step)  # may draw random numbers
        if self.stop_training and position.step:  # after this very batch
            position.batches.end_epoch()
        set_random_state(state["random"])

    def _need_position(self) -> Position:
        if self._position is None:
            raise RuntimeError(
                "get_fit_state: there must be a running fit. Call it in a callback's hook."
            )
        return self._position


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return weights and buffers, those that no file has included: a stateful layer's states."""
    found: dict[str, Tensor] = dict(model.named_buffers())
    found.update(model.state_dict())
    strange = [key for key, value in found.items() if not isinstance(value, Tensor)]
    if strange:
        raise TypeError(
            f"get_fit_state: the model's state_dict must hold tensors; {strange} do not. Keep "
            "them out of the modules' extra state."
        )
    return {key: pieces.whole(value.detach()) for key, value in found.items()}


def _load_tensors(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    present = _tensors(model)
    _check(
        {key: tuple(value.shape) for key, value in present.items()},
        {key: tuple(value.shape) for key, value in tensors.items()},
        "model",
    )
    buffers = dict(model.named_buffers())
    own = model.state_dict()
    model.load_state_dict({key: pieces.cut_as(tensors[key], value) for key, value in own.items()})
    with torch.no_grad():
        for key in buffers.keys() - model.state_dict().keys():
            buffers[key].copy_(tensors[key])


def _optimizer_state(optimizer: Any) -> Any:
    # One of torch's has state that is in none of Keras's variables, such as a scheduler's.
    if isinstance(optimizer, TorchOptimizer):
        return optimizer.saved_state()
    return [pieces.whole(variable.value.detach()) for variable in optimizer.variables]


def _load_optimizer(optimizer: Any, saved: Any) -> None:
    if isinstance(saved, tuple):
        is_torchs = isinstance(optimizer, TorchOptimizer)
        if not (is_torchs and optimizer.load_saved_state(*saved)):
            raise ValueError(
                "set_fit_state: the state must be of the same optimizer. Compile the model as it "
                "was, or remove the backup."
            )
        return
    variables = optimizer.variables
    _check(
        {index: tuple(variable.shape) for index, variable in enumerate(variables)},
        {index: tuple(value.shape) for index, value in enumerate(saved)},
        "optimizer",
    )
    with torch.no_grad():
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)


def _check(present: dict[Any, Any], given: dict[Any, Any], owner: str) -> None:
    if present == given:
        return
    differing = [key for key in {**present, **given} if present.get(key) != given.get(key)]
    first = differing[0]
    raise ValueError(
        f"set_fit_state: the state must be of the same {owner}; {len(differing)} entries differ, "
        f"the first is {first!r}, of shape {given.get(first)} in the state and "
        f"{present.get(first)} here. Build and compile the model as it was, or remove the backup."
    )


# Metrics keep what they count in buffers, and what is no tensor as a module's extra state.


def _metric_states(objective: Objective | None) -> list[dict[str, Any]]:
    """Return the states, those of all processes together."""
    metrics = _metrics(objective)
    with merging.merged_states(metrics):
        return [
            _copied({**dict(metric.named_buffers()), **metric.state_dict()}) for metric in metrics
        ]


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()
    }


def _load_metric_states(objective: Objective | None, states: list[dict[str, Any]]) -> None:
    metrics = _metrics(objective)
    _check(
        {index: set(state) for index, state in enumerate(_metric_states(objective))},
        {index: set(state) for index, state in enumerate(states)},
        "metrics",
    )
    with torch.no_grad():
        for metric, state in zip(metrics, states, strict=True):
            metric.load_state_dict({key: state[key] for key in metric.state_dict()})
            for key, buffer in metric.named_buffers():
                buffer.copy_(state[key])
            if not process.is_first():  # which has the sums of all processes
                metric.reset_state()  # type: ignore[operator]


def _metrics(objective: Objective | None) -> list[nn.Module]:
    metrics = [] if objective is None else objective.all_metrics()
    return [metric for metric in metrics if isinstance(metric, nn.Module)]
