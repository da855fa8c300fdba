"""The forms in which users give torch's optimizers and schedulers, and checks of them."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from torchseq.base import arguments
from torchseq.base.errors import UnsupportedFeatureError

INTERVALS = ("step", "epoch")

_FORMS = (
    "Give a torch optimizer, its class, a function of the parameters that returns one, "
    "(optimizer, scheduler, interval) or (scheduler, interval), where `interval`, 'step' or "
    "'epoch', says how often `scheduler.step()` is called."
)


def is_torch_form(identifier: Any) -> bool:
    """Tell whether an argument `optimizer` is torch's: an object, a class, a factory or a tuple."""
    if isinstance(identifier, torch.optim.Optimizer | LRScheduler | tuple):
        return True
    if inspect.isclass(identifier):
        return issubclass(identifier, torch.optim.Optimizer | LRScheduler)
    return callable(identifier) and not hasattr(identifier, "get_config")


def parts_of(given: Any) -> tuple[Any, Any, Any]:
    """Return optimizer, scheduler and interval of what was given as optimizer.

    Raises:
        ValueError: for a scheduler without an interval, or a tuple of another form.
    """
    if isinstance(given, LRScheduler):
        raise ValueError(
            f"compile: a torch scheduler must come with its interval; got {type(given).__name__} "
            f'alone. Pass optimizer=(scheduler, "step") or (scheduler, "epoch"): torch means '
            "OneCycleLR and CyclicLR for each step, most others for each epoch."
        )
    if not isinstance(given, tuple):
        return given, None, None
    if len(given) == 2 and isinstance(given[0], LRScheduler) and isinstance(given[1], str):
        scheduler, interval = given
        return scheduler.optimizer, scheduler, interval
    if len(given) == 3:
        return given
    names = ", ".join(getattr(part, "__name__", type(part).__name__) for part in given)
    raise ValueError(f"compile: the tuple ({names}) is not understood as an optimizer. {_FORMS}")


def check_optimizer(optimizer: Any) -> None:
    """Check an optimizer, its class or a function that makes one.

    Raises:
        TypeError: if it is none of these.
        UnsupportedFeatureError: if its step needs a function that computes the loss again.
    """
    made = _class_behind(optimizer)
    if made is None and callable(optimizer):
        return  # what a function makes is checked when it is made
    if made is None or not issubclass(made, torch.optim.Optimizer):
        raise TypeError(
            f"compile: a torch optimizer must be a torch.optim.Optimizer; got {optimizer!r}. "
            f"{_FORMS}"
        )
    closure = inspect.signature(made.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UnsupportedFeatureError(
            f"compile: {made.__name__} computes the loss several times in a step, which `fit` does "
            "not do. Use it in a loop of your own, or compile with another optimizer."
        )


def check_scheduler(scheduler: Any, interval: Any) -> None:
    """Check a scheduler, its class or a function that makes one, and how often it steps.

    Raises:
        TypeError: if it is none of these.
        ValueError: if the interval is none.
        UnsupportedFeatureError: if it must be told the value that it watches.
    """
    if scheduler is None:
        if interval is not None:
            raise ValueError(
                f"compile: an interval needs a torch scheduler; got interval={interval!r} alone."
            )
        return
    made = _class_behind(scheduler)
    if made is not None and issubclass(made, ReduceLROnPlateau):
        raise UnsupportedFeatureError(
            "compile: torch's ReduceLROnPlateau must be told the value that it watches. Use "
            'callbacks.ReduceLROnPlateau(monitor="val_loss", ...) in fit, which sees it.'
        )
    is_function = made is None and callable(scheduler)
    if not is_function and (made is None or not issubclass(made, LRScheduler)):
        raise TypeError(
            "compile: a torch scheduler must be a torch.optim.lr_scheduler.LRScheduler; got "
            f"{scheduler!r}. {_FORMS}"
        )
    arguments.one_of("compile", "interval", interval, INTERVALS)


def _class_behind(thing: Any) -> Any:
    """Return the class that an object is of, or that it makes; None if no one can tell."""
    if isinstance(thing, functools.partial):
        return _class_behind(thing.func)
    if inspect.isclass(thing):
        return thing
    known = isinstance(thing, torch.optim.Optimizer | LRScheduler)
    return type(thing) if known or not callable(thing) else None
