"""Lists, tuples and dicts of layers that a layer keeps as attributes.

torch registers modules only as attributes or in its own containers; Keras finds them in ordinary
ones, also those added later. So a list that becomes an attribute `blocks` tells of its changes, and
the modules in it are registered as `blocks_0`, `blocks_1`, ... of the layer. It stays a list:
`torch.compile` goes through it, and anything else may stand in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn


class Place:
    """Where a container is kept, and under which keys its modules are registered there.

    Args:
        owner: the layer that has the container as an attribute.
        name: of the attribute.
    """

    def __init__(self, owner: nn.Module, name: str):
        self.owner = owner
        self.name = name
        self.root: Any = None
        self.keys: set[str] = set()

    def follow(self) -> None:
        """Register with the owner the modules that are in the container now, and only those."""
        owner = self.__dict__.get("owner")
        modules = None if owner is None else owner.__dict__.get("_modules")
        if owner is None or modules is None:  # a copy is being made
            return
        found = dict(_found(self.root, self.name))
        for key in self.keys - found.keys():
            del modules[key]
        for key, module in found.items():
            modules[key] = module.train(owner.training)
        self.keys = set(found)


class TrackedList(list[Any]):
    """A list whose modules are registered with the layer that has it as an attribute."""

    place: Place | None = None


class TrackedDict(dict[Any, Any]):
    """A dict whose modules are registered with the layer that has it as an attribute."""

    place: Place | None = None


CONTAINERS = (list, dict, tuple)


def keep(owner: nn.Module, name: str, value: Any) -> Any:
    """Return the container to keep as the attribute `name` of `owner`; register its modules."""
    if type(value) is tuple and not has_modules(value):
        return value
    place = Place(owner, name)
    place.root = _tracked(value, place)
    owner.__dict__.setdefault("_places", {})[name] = place
    place.follow()
    return place.root


def forget(owner: nn.Module, name: str, value: Any) -> None:
    """Take back what was registered for the attribute, if it gets another value."""
    places = owner.__dict__.get("_places", {})
    if name in places and places[name].root is not value:
        place = places.pop(name)
        place.root = None
        place.follow()


def has_modules(value: Any) -> bool:
    """Tell whether a module lies in a container, or in one that lies in it."""
    return any(True for _ in _found(value, ""))


def _tracked(value: Any, place: Place) -> Any:
    """Return a container that tells of its changes; what is no plain container as it is."""
    made: Any
    if type(value) is tuple:
        entries = [_tracked(entry, place) for entry in value]
        is_new = any(one is not other for one, other in zip(entries, value, strict=True))
        return tuple(entries) if is_new else value
    if type(value) is dict:
        made = TrackedDict({key: _tracked(entry, place) for key, entry in value.items()})
    elif type(value) is list:
        made = TrackedList([_tracked(entry, place) for entry in value])
    else:
        return value
    made.place = place
    return made


def _found(value: Any, key: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules in a container and the containers in it, each with its key."""
    if isinstance(value, nn.Module):
        yield key.replace(".", "_"), value
    elif isinstance(value, list | tuple | dict):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for index, entry in entries:
            yield from _found(entry, f"{key}_{index}")


def _telling(change: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method `change` of list or dict so that what it adds and removes is followed."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = change(self, *args, **kwargs)
        place = self.place
        if place is not None:
            base = dict if isinstance(self, dict) else list
            entries = list(self.items() if base is dict else enumerate(self))
            for key, entry in entries:
                base.__setitem__(self, key, _tracked(entry, place))
            place.follow()
        return result

    method.__name__ = change.__name__
    return method


_ITEM_CHANGES = ["__setitem__", "__delitem__"]
_LIST_CHANGES = ["append", "extend", "insert", "remove", "pop", "clear", "reverse", "sort"]
_DICT_CHANGES = ["update", "setdefault", "pop", "popitem", "clear", "__ior__"]
for _name in [*_LIST_CHANGES, *_ITEM_CHANGES, "__iadd__", "__imul__"]:
    setattr(TrackedList, _name, _telling(getattr(list, _name)))
for _name in [*_DICT_CHANGES, *_ITEM_CHANGES]:
    setattr(TrackedDict, _name, _telling(getattr(dict, _name)))
