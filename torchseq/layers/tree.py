"""Walks the tree of modules below a layer, whose nodes are layers and plain torch modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchseq.base.variable import Variable


def collect(layer: Any, layer_class: type) -> list[Variable]:
    """Return the weights of `layer` and what is below it, each once, in Keras's order.

    A layer's own come first, the trainable before the others; then its sublayers' in the order
    in which they became attributes. Parameters and buffers of plain torch modules that no layer
    exposed count under their torch names, parameters first.
    """
    found: dict[int, Variable] = {}
    _collect(layer, layer_class, found)
    return list(found.values())


def _collect(layer: Any, layer_class: type, found: dict[int, Variable]) -> None:
    own = [variable for variable in layer._variables if _trains(variable)]
    own += [variable for variable in layer._variables if not _trains(variable)]
    for variable in own:
        found.setdefault(id(variable.tensor), variable)
    for name, child in _children_in_order(layer):
        _collect_child(layer, name, child, layer_class, found)


def _children_in_order(layer: Any) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in layer._modules.items() if child is not None]


def _collect_child(
    layer: Any, name: str, child: nn.Module, layer_class: type, found: dict[int, Variable]
) -> None:
    if isinstance(child, layer_class):
        _collect(child, layer_class, found)
        return
    if not getattr(child, "has_weights", True):  # a metric
        return
    for tensors in (child._parameters, child._buffers):
        for key, tensor in tensors.items():
            if tensor is not None and id(tensor) not in found and not is_lazy(tensor):
                found[id(tensor)] = _torch_variable(layer, child, key, f"{name}/{key}")
    for key, grandchild in child.named_children():
        _collect_child(layer, f"{name}/{key}", grandchild, layer_class, found)


def _torch_variable(layer: Any, owner: nn.Module, key: str, path: str) -> Variable:
    known: dict[str, Variable] = layer.__dict__.setdefault("_torch_variables", {})
    variable = known.get(path)
    if variable is None or variable._owner is not owner:
        variable = known[path] = Variable.over(owner, key, key)
        variable.path = f"{layer.name}/{path}"
    return variable


def _trains(variable: Variable) -> bool:
    return variable.is_parameter


def set_trainable_below(layer: Any, layer_class: type, value: bool) -> None:
    """Make what is below `layer` trainable or not."""
    for child in layer.children():
        if isinstance(child, layer_class):
            child.trainable = value  # type: ignore[attr-defined]
            continue
        for parameter in child.parameters(recurse=False):
            if not is_lazy(parameter):  # frozen when it is made
                parameter.requires_grad_(value and parameter.is_floating_point())
        set_trainable_below(child, layer_class, value)


def lacks_weights(module: nn.Module) -> bool:
    """Tell whether a layer is not built, or a lazy torch module has not seen its input."""
    if not getattr(module, "built", True):
        return True
    return any(p is not None and is_lazy(p) for p in module._parameters.values())


def has_torch_weights(layer: Any, layer_class: type) -> bool:
    """Tell whether the layer computes with floating tensors that it does not read as variables.

    These are parameters and buffers that it registered itself, and those of torch modules in it.
    """
    known = {id(variable.tensor) for variable in layer._variables}
    return any(id(tensor) not in known for tensor in _own_floats(layer, layer_class))


def _own_floats(module: nn.Module, layer_class: type) -> Iterator[Tensor]:
    for tensor in [*module._parameters.values(), *module._buffers.values()]:
        if tensor is not None and (is_lazy(tensor) or tensor.is_floating_point()):
            yield tensor
    for child in module.children():
        if not isinstance(child, layer_class):
            yield from _own_floats(child, layer_class)


def shapes_of(inputs: Any) -> Any:
    """Return the shape of a tensor, or the structure of shapes of a list, tuple or dict of them."""
    if isinstance(inputs, Tensor):
        return tuple(inputs.shape)
    if isinstance(inputs, dict):
        return {key: shapes_of(value) for key, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        return [shapes_of(entry) for entry in inputs]
    return None


def free_key(module: nn.Module, name: str) -> str:
    """Return `name`, or `name_1`, `name_2`, ..., so that no parameter or buffer has it yet."""
    name = name.replace(".", "_")
    taken = {*module._parameters, *module._buffers, *module._modules}
    key, count = name, 0
    while key in taken:
        count += 1
        key = f"{name}_{count}"
    return key


def overrides(cls: type, base: type, method: str) -> bool:
    """Tell whether `cls` has a method of its own where `base` has a default."""
    return getattr(cls, method) is not getattr(base, method)
