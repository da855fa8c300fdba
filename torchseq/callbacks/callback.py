"""What a callback is: hooks that the training loop calls, and the model they may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.nn.parallel import DistributedDataParallel

from torchseq.base import arguments


class Callback:
    """Base class of objects that take part in training, evaluation and prediction.

    Override the hooks you need. `logs` is a dict of Python floats; `{}` in hooks that end in
    `begin`. A value of `logs` is fetched from the device when it is read, so read what you need.

    Attributes:
        model: the model; callbacks use its public methods and `model.stop_training = True`.
        params: dict with `"verbose"`, `"epochs"` and `"steps"` (None if unknown).

    Examples:
        >>> class Announcer(Callback):
        ...     def on_train_end(self, logs=None):
        ...         print("done")
        >>> Announcer().on_train_end()
        done

    Source: keras.callbacks.Callback.
    """

    # On the class too, since users' callbacks often do not call `super().__init__()`.
    params: Any = None
    _model: Any = None
    _kept: tuple[str, ...] = ()  # attributes that `state_dict` has
    runs_last = False  # whether hooks of this kind run after those of all other callbacks
    runs_in_all = False  # of several processes; else the first one runs it for all
    only_shows = False  # whether it changes nothing of model and training

    def __init__(self) -> None:
        self.params = None
        self._model = None

    def set_params(self, params: Any) -> None:
        """Receive the dict of parameters; called once, before the first hook."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Receive the model; called once, before the first hook."""
        self._model = model

    @property
    def model(self) -> Any:
        """The model, unwrapped if it is inside `DistributedDataParallel`."""
        model = self._model
        return model.module if isinstance(model, DistributedDataParallel) else model

    def state_dict(self) -> dict[str, Any]:
        """Return what the callback must know to go on in a fit that was killed.

        `BackupAndRestore` keeps it. The values may be numbers, text, None, arrays, tensors, and
        lists, tuples and dicts of these. A callback without state returns nothing, `{}`.
        """
        return {name: getattr(self, name) for name in self._kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` returned; called after `on_train_begin`.

        If the fit goes on in the middle of an epoch, it is called again after `on_epoch_begin`.
        """
        for name in self._kept:
            setattr(self, name, state[name])

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Older name of `on_train_batch_end`."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Run at the start of an epoch of training; `epoch` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Run at the end of an epoch; `logs` has training and `val_` results."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Run before a training batch; `batch` counts from 0 in each epoch."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Run after a training batch; `logs` has the epoch's results so far."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Run before a batch of `evaluate` or of validation."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Run after a batch of `evaluate` or of validation."""

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Run before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Run after a batch of `predict`; `logs["outputs"]` has its outputs."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Run when `fit` starts."""

    def on_train_end(self, logs: Any = None) -> None:
        """Run when `fit` ends; `logs` is that of the last epoch."""

    def on_test_begin(self, logs: Any = None) -> None:
        """Run when `evaluate` or validation starts."""

    def on_test_end(self, logs: Any = None) -> None:
        """Run when `evaluate` or validation ends."""

    def on_predict_begin(self, logs: Any = None) -> None:
        """Run when `predict` starts."""

    def on_predict_end(self, logs: Any = None) -> None:
        """Run when `predict` ends."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
"""The names of all hooks."""

_OLDER_NAMES = {
    "on_train_batch_begin": "on_batch_begin",
    "on_train_batch_end": "on_batch_end",
}


def listener(callback: Callback, hook: str) -> Callable[..., Any] | None:
    """Return what to call for `hook`, or None if `callback` does nothing there."""
    if _overrides(callback, hook):
        return getattr(callback, hook)  # type: ignore[no-any-return]
    older = _OLDER_NAMES.get(hook)
    if older is not None and _overrides(callback, older):
        return getattr(callback, older)  # type: ignore[no-any-return]
    return None


def _overrides(callback: Callback, hook: str) -> bool:
    in_class = getattr(type(callback), hook) is not getattr(Callback, hook)
    return in_class or hook in vars(callback)


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin, on_epoch_end: called with `(epoch, logs)`.
        on_train_begin, on_train_end: called with `(logs)`.
        on_train_batch_begin, on_train_batch_end: called with `(batch, logs=logs)`.
        kwargs: any other hook of `Callback`, by its name.

    Raises:
        TypeError: if a name is no hook.

    Source: keras.callbacks.LambdaCallback, which takes any name in silence.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Callable[..., Any] | None,
    ):
        super().__init__()
        named: Mapping[str, Callable[..., Any] | None] = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, function in named.items():
            if name not in (*HOOKS, "set_model", "set_params"):
                raise TypeError(
                    f"LambdaCallback: each argument must be a hook of Callback; got {name!r}. "
                    + arguments.nearest(name, HOOKS)
                )
            if function is not None:
                setattr(self, name, function)
