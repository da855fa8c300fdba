"""Several callbacks that the training loop calls as one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from torchseq.callbacks.backup import BackupAndRestore
from torchseq.callbacks.callback import HOOKS, Callback, listener
from torchseq.callbacks.history import History
from torchseq.callbacks.progress import ProgbarLogger
from torchseq.callbacks.sharing import shared


class CallbackList(Callback):
    """Calls each hook of several callbacks, in their order.

    Which callbacks do something in a hook is found out once, here: the others are not called,
    and `wants` lets a loop skip a hook, and the making of its logs, altogether.

    Args:
        callbacks: a callback, or a list of them, nested or not; None for none.
        add_history: add a `History` unless there is one.
        add_progbar: add a `ProgbarLogger` unless there is one.
        model: handed to each callback.
        params: handed to each callback as a dict.

    Raises:
        TypeError: if an entry is no callback.

    Examples:
        >>> class Counter(Callback):
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         print(epoch, logs)
        >>> callbacks = CallbackList([Counter()])
        >>> callbacks.wants("on_epoch_end"), callbacks.wants("on_train_batch_end")
        (True, False)
        >>> callbacks.on_epoch_end(3, {"loss": 0.5})
        3 {'loss': 0.5}

    Source: keras.callbacks.CallbackList. Not offered: calls from other threads.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ):
        super().__init__()
        self.callbacks = list(_flatten(callbacks))
        for index, callback in enumerate(self.callbacks):
            _check(callback, index)
        self._history = self._find(History)
        self._progbar = self._find(ProgbarLogger)
        if self._history is None and add_history:
            self._history = History()
            self.callbacks.append(self._history)
        if self._progbar is None and add_progbar:
            self._progbar = ProgbarLogger()
            self.callbacks.append(self._progbar)
        for callback in self.callbacks:
            if isinstance(callback, BackupAndRestore):
                callback.companions = [each for each in self.callbacks if each is not callback]
        self._listeners = {hook: self._listening(hook) for hook in HOOKS}
        self.set_model(model)
        self.set_params(params)

    def _find(self, kind: type) -> Any:
        found = [callback for callback in self.callbacks if isinstance(callback, kind)]
        return found[-1] if found else None

    def _listening(self, hook: str) -> list[Callable[..., Any]]:
        ordered = sorted(self.callbacks, key=lambda callback: callback.runs_last)
        found = [shared(callback, hook, listener(callback, hook)) for callback in ordered]
        return [function for function in found if function is not None]

    def watches_batches(self, phase: str) -> bool:
        """Tell whether any callback but the progress bar does something between batches.

        Args:
            phase: `"train"`, `"test"` or `"predict"`.
        """
        hooks = [f"on_{phase}_batch_{at}" for at in ("begin", "end")]
        others = [each for each in self.callbacks if type(each) is not ProgbarLogger]
        return any(listener(each, hook) is not None for each in others for hook in hooks)

    def wants(self, hook: str) -> bool:
        """Tell whether any callback does something in `hook`."""
        return bool(self._listeners[hook])

    def close(self) -> None:
        """Take the progress bar off the screen; for loops that end by an exception."""
        if self._progbar is not None:
            self._progbar.close_bar()

    def set_params(self, params: Any) -> None:
        self.params = params
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model: Any) -> None:
        if model is None:
            return
        super().set_model(model)
        if self._history is not None:
            model.history = self._history
        for callback in self.callbacks:
            callback.set_model(model)

    # `logs` goes by position or by name as in Keras, since users' signatures rely on it.

    def _call(self, hook: str, logs: Any, *index: int) -> None:
        logs = readable(logs)
        for function in self._listeners[hook]:
            function(*index, logs)

    def _call_batch(self, hook: str, batch: int, logs: Any) -> None:
        listeners = self._listeners[hook]
        if not listeners:
            return
        logs = readable(logs)
        for function in listeners:
            function(batch, logs=logs)

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._call_batch("on_batch_begin", batch, logs)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self._call_batch("on_batch_end", batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._call("on_epoch_begin", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # What callbacks print now belongs above the epoch's finished line, not into the bar.
        self.close()
        self._call("on_epoch_end", logs, epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._call_batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._call_batch("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._call_batch("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._call_batch("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._call_batch("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self._call_batch("on_predict_batch_end", batch, logs)

    def on_train_begin(self, logs: Any = None) -> None:
        self._call("on_train_begin", logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._call("on_train_end", logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self._call("on_test_begin", logs)

    def on_test_end(self, logs: Any = None) -> None:
        self._call("on_test_end", logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        self._call("on_predict_begin", logs)

    def on_predict_end(self, logs: Any = None) -> None:
        self._call("on_predict_end", logs)


def _flatten(callbacks: Any) -> Iterator[Any]:
    if isinstance(callbacks, list | tuple):
        for entry in callbacks:
            yield from _flatten(entry)
    elif callbacks is not None:
        yield callbacks


def _check(callback: Any, index: int) -> None:
    if isinstance(callback, Callback):
        return
    if inspect.isclass(callback):
        got, advice = f"the class {callback.__name__}", f" Write {callback.__name__}(...)."
    else:
        got, advice = f"{callback!r} of type {type(callback).__name__}", ""
    raise TypeError(
        f"callbacks: each entry must be a Callback object; got {got} at index {index}.{advice}"
    )


def readable(logs: Any) -> Any:
    """Return `logs` with values that read as floats.

    The training loop's logs are so already. A plain dict comes from a loop that a user wrote, and
    may hold tensors: they become floats and names are sorted, as Keras does.
    """
    if not logs:
        return {} if logs is None else logs
    if type(logs) is not dict:
        return logs
    return {name: _as_float(logs[name]) for name in sorted(logs)}


def _as_float(value: Any) -> Any:
    if type(value) is float or getattr(value, "ndim", False):  # the outputs in predict's hooks
        return value
    try:
        return float(value)
    except (TypeError, ValueError):  # text, dicts, ...: left as they are
        return value
