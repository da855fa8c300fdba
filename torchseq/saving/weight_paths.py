"""Where Keras 3's `.weights.h5` keeps a model's weights: path in the file <-> variables.

Paths go by how objects hold each other, not by names: the third Dense of a Sequential is
`layers/dense_2`, whatever it is called. A layer's own variables are numbered below `vars`.

Source: keras.src.saving.saving_lib, Keras 3.15.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torchseq.base import naming


class Owner(NamedTuple):
    """A layer in a file: its path, its name, and the variables that are its own.

    `position` is that of its seeded random stream, None without one. Keras writes none of its own
    and reads no group but `vars`, so it passes over this one.
    """

    path: str
    name: str
    variables: list[Any]
    position: Any = None


def owners(layer: Any) -> list[Owner]:
    """Returns a model or layer and all below it, in the order in which Keras writes them."""
    return list(_walk(layer, "", set()))


def _walk(layer: Any, path: str, visited: set[int]) -> Iterator[Owner]:
    if id(layer) in visited:  # a layer that is held twice is written once, where it is met first
        return
    visited.add(id(layer))
    children = list(_children(layer))
    below = {id(weight.tensor) for _, child in children for weight in child.weights}
    # A weight of a sublayer that is an attribute of the layer, too, is written for both.
    below -= {id(getattr(value, "tensor", None)) for value in vars(layer).values()}
    own = [weight for weight in layer.weights if id(weight.tensor) not in below]
    yield Owner(path, str(layer.name), own, _position(layer))
    for name, child in children:
        yield from _walk(child, f"{path}/{name}".lstrip("/"), visited)


def _position(layer: Any) -> Any:
    found = (getattr(part, "saved_position", None) for part in layer.children())
    return next((position for position in found if position is not None), None)


def _children(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yields the layers that a layer holds, by attribute, or by class in a list."""
    held = {**vars(layer), **dict(layer.named_children())}
    if hasattr(layer, "layers") and hasattr(layer, "compile_from_config"):  # a model
        if layer.is_stack:
            yield from _members("layers", layer.layers)
        held["layers"] = layer.layers
    # Keras visits attributes by name, private ones last.
    for attribute in sorted(held, key=lambda name: f"~{name}" if name[0] == "_" else name):
        value = held[attribute]
        if _is_layer(value):
            yield attribute, value
        elif isinstance(value, Mapping) and not attribute.startswith("_"):
            yield from _members(attribute, value.values())
        elif isinstance(value, list | tuple) or _is_module_list(value):
            yield from _members(attribute, value)


def _members(attribute: str, values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    uses: dict[str, int] = {}
    for value in values:
        if _is_layer(value):
            stem = naming.to_snake_case(type(value).__name__)
            count = uses.get(stem, 0)
            uses[stem] = count + 1
            yield f"{attribute}/{stem}_{count}" if count else f"{attribute}/{stem}", value


def _is_layer(value: Any) -> bool:
    return hasattr(value, "weights") and hasattr(value, "get_config") and hasattr(value, "built")


def _is_module_list(value: Any) -> bool:
    return type(value).__name__ == "ModuleList"
