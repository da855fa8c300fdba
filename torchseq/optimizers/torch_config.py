"""Configs of torch's optimizers and schedulers: class names and options, never code.

Classes are torch's own, or come from `custom_objects` and what was registered.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from torchseq.base import arguments, registry
from torchseq.base.types import Config
from torchseq.base.variable import Variable
from torchseq.optimizers import torch_forms
from torchseq.optimizers.torch_state import is_plain


def _classes(module: Any, base: type) -> dict[str, Any]:
    return {
        name: thing
        for name, thing in vars(module).items()
        if inspect.isclass(thing) and issubclass(thing, base) and not name.startswith("_")
    }


_OPTIMIZERS = _classes(torch.optim, torch.optim.Optimizer)
_SCHEDULERS = _classes(lr_scheduler, lr_scheduler.LRScheduler)


# --- object -> config ---------------------------------------------------------------------------


def describe_optimizer(given: Any, optimizer: Any, weights: list[Variable]) -> Config:
    """Return class, options and groups of an optimizer.

    Args:
        given: what the user gave, a class or a function of the parameters.
        optimizer: what was made from it, or None.
        weights: the weights that it trains.

    Raises:
        ValueError: if they cannot be told, or are not plain values.
    """
    if optimizer is None and isinstance(given, OptimizerMaker):
        return dict(given.config)
    if optimizer is None:
        made, options = _told(given, "optimizer")
        return {"optimizer": _name(made), "options": _checked(made, options), "groups": None}
    made = type(optimizer)
    accepted = _accepted(made)
    options = {k: v for k, v in optimizer.defaults.items() if accepted is None or k in accepted}
    places = {id(weight.tensor): place for place, weight in enumerate(weights)}
    groups = [_group(made, group, places) for group in optimizer.param_groups]
    return {
        "optimizer": _name(made),
        "options": _checked(made, options),
        "groups": groups,
        "num_weights": len(weights),
    }


def _group(made: Any, group: dict[str, Any], places: dict[int, int]) -> Config:
    options = {name: value for name, value in group.items() if name != "params"}
    # A scheduler starts from this one, and a file brings the present one with the state.
    options["lr"] = options.pop("initial_lr", options.get("lr"))
    held = [places[id(param)] for param in group["params"] if id(param) in places]
    options.pop("param_names", None)
    return {**_checked(made, options, whole=False), "params": held}


def describe_scheduler(given: Any, scheduler: Any) -> Config | None:
    """Return class and options of a scheduler; None if there is none.

    Args:
        given: what the user gave.
        scheduler: what was made from it; `given` if nothing was yet.

    Raises:
        ValueError: if they cannot be told, or are not plain values.
    """
    if scheduler is None:
        return None
    if isinstance(given, functools.partial) or not isinstance(scheduler, lr_scheduler.LRScheduler):
        made, options = _told(given, "scheduler")
    else:
        made, options = type(scheduler), _arguments_of(scheduler)
    return {"name": _name(made), "options": _checked(made, options)}


def _arguments_of(scheduler: Any) -> Config:
    """Return the constructor's arguments that a scheduler keeps under their names."""
    options = {}
    for name in list(inspect.signature(type(scheduler)).parameters)[1:]:
        value = getattr(scheduler, name, None)
        if isinstance(value, Counter):  # as MultiStepLR keeps its milestones
            value = sorted(value.elements())
        if name != "last_epoch" and hasattr(scheduler, name):
            options[name] = value
    return options


def _told(given: Any, kind: str) -> tuple[Any, Config]:
    """Return class and options of a class, or of a partial of one."""
    made, options = given, {}
    if isinstance(given, functools.partial) and not given.args:
        made, options = given.func, dict(given.keywords)
    if not inspect.isclass(made):
        raise ValueError(
            f"TorchOptimizer: a file cannot hold the function {given!r} that makes the {kind}. "
            f"Give it as `functools.partial(Class, option=value)` to save it."
        )
    return made, options


def _name(made: Any) -> str:
    return registry.get_registered_name(made)


def _accepted(made: Any) -> set[str] | None:
    """Return the names of a constructor's options; None if it takes any."""
    parameters = list(inspect.signature(made).parameters.values())[1:]
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters}


def _checked(made: Any, options: Config, whole: bool = True) -> Config:
    """Return options; a rate may be a tensor, which is copied.

    Raises:
        ValueError: if one is no plain value, or one that the constructor needs is missing.
    """
    parameters = list(inspect.signature(made).parameters.values())[1:] if whole else []
    needed = [
        p.name
        for p in parameters
        if p.default is inspect.Parameter.empty
        and p.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]
    missing = [name for name in needed if name not in options]
    if missing:
        raise ValueError(
            f"TorchOptimizer: {made.__name__} does not tell with which {missing} it was made. "
            f"Give it as `functools.partial({made.__name__}, {missing[0]}=...)` to save it."
        )
    options = {k: v.detach().clone() if _is_number(v) else v for k, v in options.items()}
    for name, value in options.items():
        if not (is_plain(value) or _is_number(value)):
            raise ValueError(
                f"TorchOptimizer: a file cannot hold the option {name}={value!r} of "
                f"{made.__name__}."
            )
    return options


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1


# --- config -> object ---------------------------------------------------------------------------


class OptimizerMaker:
    """Makes an optimizer from parameters, as its config says.

    Args:
        config: what `describe_optimizer` returned.
        custom_objects: name -> class of yours.

    Raises:
        ValueError: if the class is not known.
    """

    def __init__(self, config: Config, custom_objects: Any):
        self.config = config
        self._class = _known(
            config["optimizer"], _OPTIMIZERS, torch.optim.Optimizer, custom_objects
        )
        torch_forms.check_optimizer(self._class)

    def __call__(self, params: list[Tensor]) -> Any:
        """Return the optimizer for these parameters."""
        options = _restored(self.config["options"])
        groups = self.config["groups"]
        if groups is None or (len(groups) == 1 and len(params) != self.config["num_weights"]):
            return self._class(params, **options)
        if len(params) != self.config["num_weights"]:
            raise ValueError(
                f"TorchOptimizer: the config has parameter groups of {self.config['num_weights']} "
                f"trainable weights; the model has {len(params)}. Compile the model anew."
            )
        made = [
            {**_restored(group), "params": [params[place] for place in group["params"]]}
            for group in groups
        ]
        return self._class(made, **options)


def scheduler_maker(config: Config | None, custom_objects: Any) -> Any:
    """Return a function of an optimizer that makes the scheduler of a config; None without one.

    Raises:
        ValueError: if the class is not known.
    """
    if config is None:
        return None
    base = lr_scheduler.LRScheduler
    made = _known(config["name"], _SCHEDULERS, base, custom_objects)
    return functools.partial(made, **registry.deserialize(config["options"]))


def _known(name: str, table: dict[str, Any], base: type, custom_objects: Any) -> Any:
    found = registry.get_registered_object(name, custom_objects, table)
    if not inspect.isclass(found) or not issubclass(found, base):
        raise ValueError(
            f"TorchOptimizer: {name!r} is no {base.__name__} that torch has. Pass "
            f"custom_objects={{{name!r}: ...}}. {arguments.nearest(name, table)}"
        )
    return found


def _restored(options: Config) -> Config:
    """Return options with tuples for lists, which torch's have, and tensors for described ones."""
    made = registry.deserialize(options)
    made = {k: v.clone() if isinstance(v, Tensor) else v for k, v in made.items()}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in made.items()}
