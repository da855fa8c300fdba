"""Which of several processes runs a callback, and how the others learn what it decided.

The package's own callbacks that decide something run in every process: they see the same logs, so
they decide the same. Those that only show or write something run in the first process. So does what
users write, and what it changed there is then handed to the others: `model.stop_training`, the
learning rate, logs, weights, and an error.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed

from torchseq.base import process
from torchseq.callbacks.callback import Callback, LambdaCallback
from torchseq.callbacks.learning_rate import optimizers_of

Listener = Callable[..., Any]


def shared(callback: Callback, hook: str, function: Listener | None) -> Listener | None:
    """Return what calls a callback's hook in the processes that it is meant for.

    Args:
        callback: whose hook it is.
        hook: its name.
        function: what to call; None if it does nothing.

    Returns:
        The function itself if there is one process, and None if there is nothing to do.
    """
    if function is None or not process.are_several():
        return function
    if callback.runs_in_all or _decides(callback):
        return function if process.is_first() else _quiet(function)
    if _is_ours(callback):
        return _in_first(function) if process.is_first() else None
    return _Told(callback, hook, function)


def _is_ours(callback: Callback) -> bool:
    is_made_of_users = isinstance(callback, LambdaCallback)
    return type(callback).__module__.startswith("torchseq.") and not is_made_of_users


def _decides(callback: Callback) -> bool:
    return _is_ours(callback) and not callback.only_shows


def _quiet(function: Listener) -> Listener:
    def call(*args: Any, **kwargs: Any) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            function(*args, **kwargs)

    return call


def _in_first(function: Listener) -> Listener:
    """Return what calls a hook without the others: when it reads logs is its own business."""

    def call(*args: Any, **kwargs: Any) -> None:
        args = tuple(_own(value) for value in args)
        with process.alone():
            function(*args, **{name: _own(value) for name, value in kwargs.items()})

    return call


def _own(value: Any) -> Any:
    """Return logs that nobody has read yet as logs of this process's part."""
    return value.unread() if hasattr(value, "unread") else value


class _Told:
    """Calls a user's hook in the first process and tells the others what it changed.

    Args:
        callback: the user's.
        hook: which of its hooks.
        function: to call.
    """

    def __init__(self, callback: Callback, hook: str, function: Listener):
        self._callback = callback
        self._function = function
        self._keeps_logs = hook == "on_epoch_end"  # what is put into these, History shows

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        model = self._callback.model
        logs = kwargs.get("logs", args[-1] if args else None)
        told: dict[str, Any] = {"error": None}
        failure: BaseException | None = None
        if process.is_first():
            before, versions = _numbers(model), _versions(model)
            try:
                logs = self._call(args, kwargs)
            except BaseException as error:
                failure = error
                told["error"] = f"{type(error).__name__}: {error}"
            told["changes"] = {k: v for k, v in _numbers(model).items() if before[k] != v}
            told["weights"] = versions != _versions(model)
            told["logs"] = dict(logs) if self._keeps_logs and logs is not None else None
        told = process.from_first(lambda: told)
        if failure is not None:
            raise failure
        if told["error"] is not None:
            raise RuntimeError(
                f"{type(self._callback).__name__}: the callback failed in the first process, "
                f"where callbacks run; it raised {told['error']}"
            )
        self._apply(model, logs, told)

    def _call(self, args: Any, kwargs: Any) -> Any:
        args = tuple(_own(value) for value in args)
        kwargs = {name: _own(value) for name, value in kwargs.items()}
        with process.alone():
            self._function(*args, **kwargs)
        return kwargs.get("logs", args[-1] if args else None)

    def _apply(self, model: Any, logs: Any, told: dict[str, Any]) -> None:
        if not process.is_first():
            for name, value in told["changes"].items():
                if name in _FLAGS:
                    setattr(model, name, value)
                else:
                    dict(optimizers_of(model))[name[len(_RATE) :]].learning_rate = value
            if told["logs"] is not None and logs is not None:
                logs.clear()
                logs.update(told["logs"])
        if told["weights"]:
            with torch.no_grad():
                for tensor in _tensors(model):
                    whole = tensor.detach().contiguous()
                    distributed.broadcast(whole, src=0)
                    tensor.detach().copy_(whole)


_FLAGS = ("stop_training", "stop_evaluating", "stop_predicting")
_RATE = "rate "


def _numbers(model: Any) -> dict[str, Any]:
    """Return what callbacks change: flags, and learning rates that are numbers."""
    found = {name: getattr(model, name, None) for name in _FLAGS}
    if getattr(model, "optimizer", None) is not None:
        for name, optimizer in optimizers_of(model):
            found[_RATE + name] = float(optimizer.learning_rate)
    return found


def _tensors(model: Any) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()] if hasattr(model, "parameters") else []


def _versions(model: Any) -> list[int]:
    return [tensor._version for tensor in _tensors(model)]
