"""The state of torch's optimizers and schedulers: as variables, and for files.

Files name a weight by its place among the model's trainable weights, as torch does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchseq.base.types import Config
from torchseq.base.variable import Variable
from torchseq.optimizers import state

_PLAIN = (bool, int, float, str, type(None))


def is_plain(value: Any) -> bool:
    """Tell whether JSON can hold a value and give it back; tuples come back as lists."""
    if isinstance(value, list | tuple):
        return all(is_plain(entry) for entry in value)
    return isinstance(value, _PLAIN)


def _entries(optimizer: Any, weights: list[Variable]) -> Iterator[tuple[int, str, Any]]:
    """Yield place of the weight, name of the state, and its value."""
    for place, weight in enumerate(weights):
        for name, value in optimizer.state.get(weight.tensor, {}).items():
            yield place, name, value


def variables(optimizer: Any, weights: list[Variable], prefix: str) -> list[Variable]:
    """Return the state's tensors as variables, in torch's layout.

    Args:
        optimizer: torch's, or None.
        weights: those that it trains.
        prefix: of the paths.
    """
    found = []
    for place, name, value in _entries(optimizer, weights) if optimizer is not None else ():
        if isinstance(value, Tensor):
            variable = Variable.over(state.Slot(value), "tensor", name)
            variable.path = f"{prefix}/{weights[place].path.replace('/', '_')}_{name}"
            found.append(variable)
    return found


def follow_params(optimizer: Any) -> None:
    """Move the state to where the weights are, if the model went to another device or dtype."""
    for param, entries in optimizer.state.items():
        for value in entries.values():
            if not isinstance(value, Tensor) or not value.ndim:  # torch keeps numbers on the host
                continue
            if value.device != param.device or (
                value.is_floating_point() and value.dtype is not param.dtype
            ):
                optimizer.load_state_dict(optimizer.state_dict())  # torch puts each in its place
                return


def taken(
    optimizer: Any, scheduler: Any, weights: list[Variable]
) -> tuple[dict[str, Tensor], Config]:
    """Return the state: tensors by name, and facts that JSON can hold."""
    tensors: dict[str, Tensor] = {}
    entries: list[list[Any]] = []
    values: list[list[Any]] = []
    for place, name, value in _entries(optimizer, weights):
        if isinstance(value, Tensor):
            key = f"{place}/{weights[place].path}/{name}"
            tensors[key] = value.detach()
            entries.append([place, name, key])
        elif is_plain(value):
            values.append([place, name, value])
    groups = [
        {name: _plain(value) for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    facts: Config = {
        "num_weights": len(weights),
        "tensors": entries,
        "values": values,
        "groups": [{k: v for k, v in group.items() if is_plain(v)} for group in groups],
    }
    if scheduler is not None:
        facts["scheduler"] = {k: v for k, v in scheduler.state_dict().items() if is_plain(v)}
    return tensors, facts


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Tensor) and value.numel() == 1 else value


def put(
    optimizer: Any,
    scheduler: Any,
    weights: list[Variable],
    tensors: dict[str, Tensor],
    facts: Config,
) -> bool:
    """Give the optimizer a state that `taken` returned; False, and no change, if it does not fit.

    What a constructor gave a scheduler stays: only what changes in training is set.
    """
    whole = optimizer.state_dict()
    places = _indices_in_torch(optimizer, weights)
    groups = facts.get("groups", [])
    if facts.get("num_weights") != len(weights) or len(groups) != len(whole["param_groups"]):
        return False
    entries = [(place, name, tensors[key].clone()) for place, name, key in facts["tensors"]]
    entries += [(place, name, value) for place, name, value in facts["values"]]
    if not all(place in places for place, _, _ in entries):
        return False
    whole["state"] = {}
    for place, name, value in entries:
        whole["state"].setdefault(places[place], {})[name] = value
    for group, saved in zip(whole["param_groups"], groups, strict=True):
        group.update({k: _like(group[k], v) for k, v in saved.items() if k in group})
    optimizer.load_state_dict(whole)
    if scheduler is not None:
        state_dict = scheduler.state_dict()
        saved = facts.get("scheduler") or {}
        state_dict.update({k: _like(state_dict[k], v) for k, v in saved.items() if k in state_dict})
        scheduler.load_state_dict(state_dict)
    return True


def _indices_in_torch(optimizer: Any, weights: list[Variable]) -> dict[int, int]:
    """Return place of a weight -> its number in torch's `state_dict`."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    numbers = {id(param): index for index, param in enumerate(params)}
    return {
        place: numbers[id(weight.tensor)]
        for place, weight in enumerate(weights)
        if id(weight.tensor) in numbers
    }


def _like(present: Any, saved: Any) -> Any:
    """Return a saved option in the form that the present one has."""
    if isinstance(present, Tensor):
        return torch.tensor(saved, dtype=present.dtype, device=present.device)
    return tuple(saved) if isinstance(present, tuple) and isinstance(saved, list) else saved
